"""Model: what passes work on: a graph, its parameters in numpy, and the report of what happened to each layer."""
import numpy as np

from qnn.graph import Node


class Model:
    """graph: qnn.graph.Graph; arg_params, aux_params: {name: numpy array}; report: converter.report.Report."""

    def __init__(self, graph, arg_params, aux_params, report):
        self.graph, self.arg_params, self.aux_params, self.report = graph, dict(arg_params), dict(aux_params), report
        self.packed_params = {}

    def parameter(self, name, layer):
        """The float32 array `name`, read for `layer`. Raises ValueError naming the layer when it is missing or
        foreign."""
        if name not in self.arg_params:
            raise ValueError("%s '%s': parameter %s is missing from the checkpoint" % (layer.op, layer.name, name))
        value = self.arg_params[name]
        if value.dtype != np.float32:
            raise ValueError("%s '%s': parameter %s is float32, got %s" % (layer.op, layer.name, name, value.dtype))
        expected = expected_weight_shape(layer.options)
        if value.ndim != len(expected) or any(e not in (0, got) for e, got in zip(expected, value.shape)):
            raise ValueError("%s '%s': parameter %s has shape %s, got %s" % (
                layer.op, layer.name, name, str(expected).replace("0,", "*,").replace(" 0)", " *)"), value.shape))
        return value

    def variable(self, name, value):
        """A new variable node with its value. It carries shape and dtype: MXNet can infer neither of a packed
        weight's."""
        self.packed_params[name] = value
        dtype = {"float32": "0", "int32": "4", "int64": "6"}[str(value.dtype)]
        return Node("null", name, {"__shape__": str(value.shape), "__dtype__": dtype})

    def entry(self, name, value):
        """The entry of a new variable; of another name where `name` is taken."""
        return self.variable(self.free_name(name), value), 0

    def free_name(self, name):
        """`name`, or name_2, name_3 ... where a parameter is called so: a BatchNorm may have the name of a layer."""
        free, number = name, 1
        while free in self.packed_params or free in self.arg_params or free in self.aux_params:
            number += 1
            free = "%s_%d" % (name, number)
        return free

    def used_params(self):
        """(arg_params, aux_params) that the graph still reads."""
        names = {node.name for node in self.graph.nodes() if node.is_variable}
        args = {name: value for name, value in {**self.arg_params, **self.packed_params}.items() if name in names}
        return args, {name: value for name, value in self.aux_params.items() if name in names}


def expected_weight_shape(options):
    """Shape of a layer's float weights; 0 where the options do not fix it."""
    if options.op == "QConvolution":
        return (options.num_filter, 0) + options.kernel
    return options.num_hidden, 0
