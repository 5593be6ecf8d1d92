"""Model: what passes work on: a graph, its parameters in numpy, and the report of what happened to each layer."""
import numpy as np

from qnn import quantizers, reference_planes
from qnn.codes import DataCode
from qnn.graph import Node

SIGNS = DataCode(quantizers.Sign())


class Model:
    """graph: qnn.graph.Graph; arg_params, aux_params: {name: numpy array}; report: converter.report.Report. data_codes:
    {_qnn_pack node: DataCode} and plane_terms: {_qnn_float_convolution node: (DataCode, WeightTerm)} say what nodes of
    several bits compute with; nodes that are in neither compute with signs. sample_shape: (C, H, W), where it is known.
    """

    sample_shape = None

    def __init__(self, graph, arg_params, aux_params, report):
        self.graph, self.arg_params, self.aux_params, self.report = graph, dict(arg_params), dict(aux_params), report
        self.packed_params = {}
        self.data_codes, self.plane_terms, self._thresholds = {}, {}, {}
        for node in graph.nodes():  # MXNet overruns a buffer where a native operator has an input of unknown rank
            source = node.inputs[0][0] if "__qnn_input__" in node.attrs else None
            if source is not None and source.is_variable and source.name in self.arg_params:
                source.attrs.setdefault("__shape__", str(self.arg_params[source.name].shape))

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

    def trained(self, layer, side):
        """The trained arrays of the quantizer of one side ("act", "weight"), in order. Raises ValueError naming the
        layer."""
        names = [layer.inputs["%s_%s" % (side, role)][0].name for role in layer.options.roles(side)]
        for name in names:
            if name not in self.arg_params:
                raise ValueError("%s '%s': parameter %s is missing from the checkpoint" % (layer.op, layer.name, name))
        return [self.arg_params[name] for name in names]

    def code_of(self, pack):
        """The DataCode of a _qnn_pack node."""
        return self.data_codes.get(pack, SIGNS)

    def inputs_behind(self, layer):
        """Position of the first input of a layer behind its weights, and offset, if it has one."""
        data, term = self.plane_terms.get(layer, (None, None))
        return 2 if data is None or data.code == term.code == "bipolar" else 3

    def largest_accumulator(self, layer):
        """Largest magnitude of what a node of `plane_terms` counts, as an integer."""
        data, term = self.plane_terms[layer]
        low, high = reference_planes.code_range(data.term_planes[0][1], data.code)
        sums = np.abs(term.codes.reshape(len(term.codes), -1)).sum(axis=1)
        return int(max(-low, high) * sums.max())

    def thresholds_of(self, code, name):
        """Entries [threshold, flip] of the floats that make a DataCode; the same ones for equal codes, so that packings
        can be shared."""
        if code not in self._thresholds:
            threshold = code.thresholds()
            threshold = threshold[:, None] if len(threshold) > 1 else threshold
            self._thresholds[code] = [self.entry(name + "_act_threshold", threshold, is_derived=True),
                                      self.entry(name + "_act_flip", np.zeros(1, np.int64))]
        return list(self._thresholds[code])

    def variable(self, name, value, is_derived=False):
        """A new variable node with its value. It carries shape and dtype: MXNet can infer neither of a packed
        weight's. is_derived: weights and quantizers determine it; `qnn summary` counts its bytes, but no parameters."""
        self.packed_params[name] = value
        dtype = {"float32": "0", "int32": "4", "int64": "6"}[str(value.dtype)]
        derived = {"__derived__": "True"} if is_derived else {}
        return Node("null", name, {"__shape__": str(value.shape), "__dtype__": dtype, **derived})

    def entry(self, name, value, is_derived=False):
        """The entry of a new variable; of another name where `name` is taken."""
        return self.variable(self.free_name(name), value, is_derived), 0

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
