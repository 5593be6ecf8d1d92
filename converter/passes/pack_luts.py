"""Pack LUTs: all table layers, with the encoder before and the counts behind them, become one packed network."""
from qnn.graph import Graph

from ..load_lut import convert_graph


class PackLuts:
    """Replaces the table layers of a trained graph by the operator _qnn_lut_network."""

    name = "pack_luts"

    def apply(self, model):
        """Returns the number of layers packed. Raises ValueError naming the layer that cannot be."""
        params = {**model.arg_params, **model.aux_params}
        model.graph, arrays, _, made = convert_graph(model.graph, params, model.free_name("lut"), model.sample_shape)
        model.packed_params.update(arrays)
        for node, layer in made:
            before = sum(params[name].nbytes for name in parameters_of(node, params))
            model.report.add(node.name, node.attrs["__qnn_op__"], 1, 1, before,
                             layer.connections.nbytes + layer.tables.nbytes)
        return len(made)


def parameters_of(node, params):
    """Names of a layer's parameters, all of which begin with its name."""
    return [inner.name for inner in Graph([(node, 0)]).nodes()
            if inner.is_variable and inner.name in params and inner.name.startswith(node.name + "_")]
