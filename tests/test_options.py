"""Arguments of the layers: every bad one is refused with a sentence that names operator, layer, argument, range, value,
the same for symbols and arrays; what BMXNet accepted is accepted; strings are taken as MXNet passes them."""
import warnings

import mxnet as mx
import numpy as np
import pytest

import qnn
from qnn.options import ConvolutionOptions, FullyConnectedOptions, OptionError

CONV = dict(kernel=(3, 3), num_filter=4)
DENSE = dict(num_hidden=4)
BAD = [  # op, arguments, sentence behind "QConvolution 'layer': "
    ("QActivation", dict(act_bit=0), "act_bit is 1..32, got 0"),
    ("QActivation", dict(act_bit=33), "act_bit is 1..32, got 33"),
    ("QActivation", dict(act_bit=-1), "act_bit is 1..32, got -1"),
    ("QActivation", dict(act_bit=1.5), "act_bit is 1..32, got 1.5"),
    ("QActivation", dict(act_bit="x"), "act_bit is 1..32, got 'x'"),
    ("QActivation", dict(act_bit=None), "act_bit is 1..32, got None"),
    ("QActivation", dict(act_bit=float("nan")), "act_bit is 1..32, got nan"),
    ("QActivation", dict(act_bit=float("inf")), "act_bit is 1..32, got inf"),
    ("QActivation", dict(backward_only="maybe"), "backward_only is True or False, got 'maybe'"),
    ("QActivation", dict(grad_clip=0), "grad_clip is a number above 0, got 0"),
    ("QActivation", dict(grad_clip=float("nan")), "grad_clip is a number above 0, got nan"),
    ("QActivation", dict(grad_clip="wide"), "grad_clip is a number above 0, got 'wide'"),
    ("QConvolution", dict(CONV, weight_bit=0), "weight_bit is 1..32, got 0"),
    ("QConvolution", dict(CONV, weight_bit=33), "weight_bit is 1..32, got 33"),
    ("QConvolution", dict(CONV, act_bit="2.5"), "act_bit is 1..32, got '2.5'"),
    ("QConvolution", dict(CONV, pad_value=2), "pad_value is -1, 0 or 1, got 2"),
    ("QConvolution", dict(CONV, pad_value=0.5), "pad_value is -1, 0 or 1, got 0.5"),
    ("QConvolution", dict(CONV, scaling="foo"), "scaling is one of none, layer, filter, xnor, got 'foo'"),
    ("QConvolution", dict(CONV, scaling=True), "scaling is one of none, layer, filter, xnor, got True"),
    ("QConvolution", dict(CONV, no_offset="no"), "no_offset is True or False, got 'no'"),
    ("QConvolution", dict(CONV, no_bias=2), "no_bias is True or False, got 2"),
    ("QConvolution", dict(num_filter=4), "kernel is a tuple of 1 to 3 sizes, got ()"),
    ("QConvolution", dict(num_filter=4, kernel=(1, 1, 1, 1)), "kernel is a tuple of 1 to 3 sizes, got (1, 1, 1, 1)"),
    ("QConvolution", dict(num_filter=4, kernel=(3, 0)), "kernel is a tuple of 1 to 3 sizes, got (3, 0)"),
    ("QConvolution", dict(num_filter=4, kernel=3), "kernel is a tuple of 1 to 3 sizes, got 3"),
    ("QConvolution", dict(num_filter=4, kernel=(3, 1.5)), "kernel is a tuple of 1 to 3 sizes, got (3, 1.5)"),
    ("QConvolution", dict(num_filter=4, kernel="(3, x)"), "kernel is a tuple of 1 to 3 sizes, got '(3, x)'"),
    ("QConvolution", dict(CONV, stride=(1,)), "stride is 2 numbers from 1 on, as kernel has, got (1,)"),
    ("QConvolution", dict(CONV, stride=(0, 1)), "stride is 2 numbers from 1 on, as kernel has, got (0, 1)"),
    ("QConvolution", dict(CONV, pad=0), "pad is 2 numbers from 0 on, as kernel has, got 0"),
    ("QConvolution", dict(CONV, stride=2), "stride is 2 numbers from 1 on, as kernel has, got 2"),
    ("QConvolution", dict(CONV, dilate=(1, 0)), "dilate is 2 numbers from 1 on, as kernel has, got (1, 0)"),
    ("QConvolution", dict(CONV, pad=(1, 1, 1)), "pad is 2 numbers from 0 on, as kernel has, got (1, 1, 1)"),
    ("QConvolution", dict(CONV, pad=(-1, 0)), "pad is 2 numbers from 0 on, as kernel has, got (-1, 0)"),
    ("QConvolution", dict(kernel=(3, 3)), "num_filter is a number above 0, got 0"),
    ("QConvolution", dict(CONV, num_group=3), "num_group is a divisor of num_filter=4, got 3"),
    ("QConvolution", dict(CONV, num_group=0), "num_group is a divisor of num_filter=4, got 0"),
    ("QConvolution", dict(CONV, layout="NHWC"), "layout is NCHW (transpose the data), got 'NHWC'"),
    ("QConvolution", dict(CONV, layout="NCW"), "layout is NCHW (transpose the data), got 'NCW'"),
    ("QFullyConnected", dict(), "num_hidden is a number above 0, got 0"),
    ("QFullyConnected", dict(num_hidden=-3), "num_hidden is a number above 0, got -3"),
    ("QFullyConnected", dict(DENSE, flatten="flat"), "flatten is True or False, got 'flat'"),
    ("QFullyConnected", dict(DENSE, act_bit=64), "act_bit is 1..32, got 64"),
]
LEGACY = dict(cudnn_off=True, cudnn_tune="fastest", workspace=512, gradient_update_mode="bf", scaling_mode="none",
              binarized_weights_only=False)


def _by_symbol(op, options):
    return getattr(qnn.sym, op)(mx.sym.Variable("data"), name="layer", **options)


def _by_array(op, options):
    arrays = [mx.nd.ones((1, 3, 5, 5)), mx.nd.ones((4, 3, 3, 3)) if op == "QConvolution" else mx.nd.ones((4, 75))]
    return getattr(qnn.nd, op)(*arrays[:1 if op == "QActivation" else 2], name="layer", **options)


BOTH = pytest.mark.parametrize("make", [_by_symbol, _by_array], ids=["sym", "nd"])


@BOTH
@pytest.mark.parametrize("op,options,sentence", BAD, ids=["%s %s" % (op, text) for op, _, text in BAD])
def test_bad_arguments(op, options, sentence, make):
    with pytest.raises(OptionError) as caught:
        make(op, options)
    assert str(caught.value) == "%s 'layer': %s" % (op, sentence)


def test_an_error_without_a_name_names_the_operator():
    with pytest.raises(OptionError, match="^QActivation: act_bit is 1..32, got 0$"):
        qnn.nd.QActivation(mx.nd.ones((1,)), act_bit=0)
    with pytest.raises(OptionError, match=r"^QActivation 'qactivation\d+': act_bit is 1..32, got 0$"):
        qnn.sym.QActivation(mx.sym.Variable("data"), act_bit=0)


def test_option_errors_are_value_errors():
    assert issubclass(OptionError, ValueError)


@BOTH
@pytest.mark.parametrize("op,options,known", [
    ("QActivation", {}, "act_bit, backward_only, gamma, grad_clip, levels, quantizer, residual"),
    ("QFullyConnected", DENSE, "act_bit, act_gamma, act_quantizer, flatten, grad_clip, no_bias, no_offset, num_hidden, "
                               "scaling, weight_bit, weight_gamma, weight_negative, weight_positive, weight_quantizer"),
    ("QConvolution", CONV, "act_bit, act_gamma, act_quantizer, dilate, grad_clip, kernel, layout, no_bias, no_offset, "
                           "num_filter, num_group, pad, pad_value, scaling, stride, weight_bit, weight_gamma, "
                           "weight_negative, weight_positive, weight_quantizer"),
])
def test_unknown_arguments_list_the_known_ones(op, options, known, make):
    with pytest.raises(OptionError) as caught:
        make(op, dict(options, weigth_bit=2, colour="red"))
    assert str(caught.value) == "%s 'layer': unknown argument 'colour', 'weigth_bit'; known: %s" % (op, known)


@BOTH
@pytest.mark.parametrize("op,options", [("QConvolution", CONV), ("QFullyConnected", DENSE)])
def test_arguments_of_bmxnet_are_accepted(op, options, make):
    make(op, dict(options, **LEGACY))
    for mode in ("bb", "bf", "ff"):
        make(op, dict(options, gradient_update_mode=mode))


@BOTH
@pytest.mark.parametrize("value", [True, "True", 1])
def test_packed_models_of_bmxnet_are_sent_to_the_converter(value, make):
    with pytest.raises(OptionError, match="^QConvolution 'layer': binarized_weights_only .*qnn convert --from bmxnet"):
        make("QConvolution", dict(CONV, binarized_weights_only=value))


def test_scaling_mode_of_bmxnet():
    rng = np.random.RandomState(0)
    x, w = mx.nd.array(rng.randn(1, 3, 5, 5)), mx.nd.array(rng.randn(4, 3, 3, 3))
    plain, layer = (qnn.nd.QConvolution(x, w, scaling=scaling, **CONV).asnumpy() for scaling in ("none", "layer"))
    np.testing.assert_array_equal(qnn.nd.QConvolution(x, w, scaling_mode="forward", **CONV).asnumpy(), layer)
    np.testing.assert_array_equal(qnn.nd.QConvolution(x, w, scaling_mode="none", **CONV).asnumpy(), plain)
    with pytest.warns(UserWarning, match="scaling_mode='backward' has no effect"):
        np.testing.assert_array_equal(qnn.nd.QConvolution(x, w, scaling_mode="backward", **CONV).asnumpy(), plain)
    with pytest.raises(OptionError, match="scaling_mode is none, forward or backward, got 'sideways'"):
        qnn.nd.QConvolution(x, w, scaling_mode="sideways", **CONV)


@pytest.mark.parametrize("mode", [None, "none"])
def test_scaling_mode_none_keeps_our_own_scaling(mode):
    rng = np.random.RandomState(0)
    x, w = mx.nd.array(rng.randn(1, 3, 5, 5)), mx.nd.array(rng.randn(4, 3, 3, 3))
    options = dict(CONV, scaling="filter")
    expected = qnn.nd.QConvolution(x, w, **options).asnumpy()
    if mode:
        options["scaling_mode"] = mode
    np.testing.assert_array_equal(qnn.nd.QConvolution(x, w, **options).asnumpy(), expected)


def test_strings_as_mxnet_passes_them():
    text = ConvolutionOptions(kernel="(3, 2)", num_filter="4", stride="[2,1]", dilate="(1L, 1L)", pad="()",
                              num_group="2", no_bias="False", act_bit="1", weight_bit="1", pad_value="-1",
                              no_offset="True", scaling="filter", grad_clip="0.5", layout="NCHW")
    assert text == ConvolutionOptions(kernel=(3, 2), num_filter=4, stride=(2, 1), dilate=(1, 1), num_group=2,
                                      no_bias=False, pad_value=-1, no_offset=True, scaling="filter", grad_clip=0.5,
                                      layout="NCHW")
    text = FullyConnectedOptions(num_hidden="4", flatten="0", no_bias="1")
    assert text == FullyConnectedOptions(num_hidden=4, flatten=False, no_bias=True)


def test_numpy_numbers_and_lists():
    options = ConvolutionOptions(kernel=[np.int64(3), np.int32(2)], num_filter=np.int64(4), act_bit=np.uint8(1),
                                 stride=np.array([2, 1]).tolist(), num_group=np.int64(2))
    assert options.kernel == (3, 2) and options.stride == (2, 1)
    marks = options.attributes()
    assert [marks["__qnn_%s__" % key] for key in ("kernel", "num_filter", "act_bit")] == ["(3, 2)", "4", "1"]
    net = qnn.sym.QConvolution(mx.sym.Variable("data"), kernel=(np.int64(3), 3), num_filter=np.int64(4),
                               pad=(np.int8(1), 1))
    assert net.infer_shape(data=(1, 2, 5, 5))[1] == [(1, 4, 5, 5)]


def test_numpy_arrays_as_sizes():
    assert ConvolutionOptions(kernel=(3, 2), num_filter=4, stride=np.array([2, 1])).stride == (2, 1)


@pytest.mark.parametrize("layout", [None, "None", "", "NCHW"])
def test_layouts_that_mean_nchw(layout):
    assert ConvolutionOptions(kernel=(1, 1), num_filter=1, layout=layout).layout in ("", "NCHW")


def test_one_and_three_dimensional_layouts():
    assert ConvolutionOptions(kernel=(1,), num_filter=1, layout="NCW").layout == "NCW"
    assert ConvolutionOptions(kernel=(1, 1, 1), num_filter=1, layout="NCDHW").layout == "NCDHW"


def test_marks_rebuild_the_options():
    """The converter reads options back from the attributes of a saved graph."""
    options = ConvolutionOptions(name="conv", kernel=(3, 2), num_filter=6, stride=(2, 1), num_group=3, no_bias=False,
                                 act_bit=4, weight_bit=2, pad_value=0, no_offset=True, scaling="layer", grad_clip=0.3)
    marks = {key[len("__qnn_"):-2]: value for key, value in options.attributes().items()}
    assert marks.pop("op") == "QConvolution"
    assert ConvolutionOptions(name="conv", **marks) == options


def test_good_arguments_do_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _by_symbol("QConvolution", dict(CONV, **LEGACY))
        _by_array("QFullyConnected", DENSE)
