"""Quantizers: names, texts and errors; codes and scales equal to the numpy twins, as arrays and inside layers, in every
way to call them."""
import mxnet as mx
import numpy as np
import pytest
from quantizer_cases import ACT, MODES, SPECIAL, WEIGHT, arrays_of, data, initial, run_layer, weights

import qnn
from qnn import quantizers, reference, reference_quantizers
from qnn.options import OptionError

BAD = [
    ("sing", "unknown quantizer 'sing'; known: approx_sign, deterministic_binary, dorefa, dorefa_weight, fixed, "
             "function, identity, isometric, quantized_relu, rebnet, sign, stochastic_binary, swish_sign, ternary, "
             "ttq, twn"),
    ("dorefa", "quantizer dorefa: missing argument bits; known: bits, clip"),
    ("dorefa(bits=0)", "quantizer dorefa: bits is 1..31, got 0"),
    ("dorefa(bits=32)", "quantizer dorefa: bits is 1..31, got 32"),
    ("dorefa(bits=2.5)", "quantizer dorefa: bits is 1..31, got 2.5"),
    ("dorefa(bits=True)", "quantizer dorefa: bits is 1..31, got True"),
    ("dorefa(bits='2')", "quantizer dorefa: bits is 1..31, got '2'"),
    ("dorefa(2)", "a quantizer is written NAME or NAME(ARGUMENT=NUMBER, ...), got 'dorefa(2)'"),
    ("dorefa(bits=", "a quantizer is written NAME or NAME(ARGUMENT=NUMBER, ...), got 'dorefa(bits='"),
    ("dorefa(bits=f())", "a quantizer is written NAME or NAME(ARGUMENT=NUMBER, ...), got 'dorefa(bits=f())'"),
    ("", "a quantizer is written NAME or NAME(ARGUMENT=NUMBER, ...), got ''"),
    ("sign(window=1)", "quantizer sign: unknown argument window; known: clip"),
    ("sign(clip=0)", "quantizer sign: clip is a number above 0, got 0"),
    ("swish_sign(beta=-1)", "quantizer swish_sign: beta is a number above 0, got -1"),
    ("fixed(bits=1)", "quantizer fixed: bits is 2..31, got 1"),
    ("fixed(fraction=99)", "quantizer fixed: fraction is -64..64, got 99"),
    ("fixed(narrow=3)", "quantizer fixed: narrow is True or False, got 3"),
    ("quantized_relu(bits=2, limit=0)", "quantizer quantized_relu: limit is a number above 0, got 0"),
    ("rebnet(levels=0)", "quantizer rebnet: levels is 1..4, got 0"),
    ("rebnet(levels=5)", "quantizer rebnet: levels is 1..4, got 5"),
    ("isometric(levels=5)", "quantizer isometric: levels is 1..4, got 5"),
    ("isometric(levels=2, gamma=0)", "quantizer isometric: gamma is 1 number above 0, got 0"),
    ("isometric(levels=2, gamma=-0.5)", "quantizer isometric: gamma is 1 number above 0, got -0.5"),
    ("rebnet(levels=2, gamma=(1, 0))", "quantizer rebnet: gamma is 2 numbers above 0, got (1, 0)"),
    ("rebnet(levels=2, gamma=1)", "quantizer rebnet: gamma is 2 numbers above 0, got 1"),
    ("ttq(positive=0)", "quantizer ttq: positive is 1 number above 0, got 0"),
]


@pytest.mark.parametrize("text,sentence", BAD, ids=[text for text, _ in BAD])
def test_bad_quantizers(text, sentence):
    with pytest.raises(ValueError) as caught:
        quantizers.get(text)
    assert str(caught.value) == sentence


def test_what_is_no_quantizer():
    with pytest.raises(ValueError, match="a quantizer is a name, an object or a function .* got 3; names: approx_sign"):
        quantizers.get(3)
    with pytest.raises(ValueError, match="takes no arguments, got .'clip'."):
        quantizers.get(quantizers.Sign(), clip=2)


@pytest.mark.parametrize("text", sorted(set(ACT + WEIGHT)))
def test_text_round_trips(text):
    quantizer = quantizers.get(text)
    assert str(quantizer) == text and quantizers.get(str(quantizer)) == quantizer


def test_ways_to_name_one():
    four = quantizers.DoReFa(bits=4)
    assert quantizers.get("dorefa(bits=4)") == quantizers.get("dorefa", bits=4) == quantizers.get(four) == four
    assert quantizers.get(quantizers.DoReFa, bits=4) == four and four != quantizers.DoReFa(bits=3)
    assert str(quantizers.get(np.tanh)) == "function(of='tanh')"
    assert quantizers.get("function(of='tanh')") == quantizers.get(np.tanh)


@pytest.mark.parametrize("text", sorted(set(ACT + WEIGHT)))
def test_codes_are_in_their_range(text):
    """The table of codes: bipolar odd numbers, unsigned and signed k bits, ternary; num_terms and term_bits."""
    quantizer = quantizers.get(text)
    x = data(500) if "act" in quantizer.sides else weights(20, 25)
    terms = quantizers.evaluate_terms(quantizer, x, initial(text))
    assert len(terms) == quantizer.num_terms
    n = 2 ** quantizer.term_bits
    allowed = {"bipolar": range(1 - n, n, 2), "unsigned": range(n), "signed": range(-n // 2, n // 2),
               "ternary": range(-1, 2), None: None}[quantizer.code]
    for codes, _ in terms:
        assert allowed is None or set(np.unique(codes)) <= set(map(float, allowed))
    assert quantizer.code is None or any(len(np.unique(codes)) > 1 for codes, _ in terms)


@pytest.mark.parametrize("text", sorted(set(ACT + WEIGHT)))
def test_evaluated_terms_equal_reference(text):
    quantizer = quantizers.get(text)
    x = np.concatenate([SPECIAL, data(997), np.arange(-64, 65, dtype=np.float32) / 16])
    x = x if "act" in quantizer.sides else weights(16, 3, 5, 5)
    expected = reference_quantizers.terms(quantizer, x, *initial(text))
    for (codes, scale), (expected_codes, expected_scale) in zip(
            quantizers.evaluate_terms(quantizer, x, initial(text)), expected):
        np.testing.assert_array_equal(codes, expected_codes)
        assert scale == expected_scale and (scale is None or scale.dtype == np.float32)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("text", ACT)
def test_activation_equals_reference(text, mode, operators):
    quantizer, x = quantizers.get(text), data(3, 5, 7)
    terms = reference_quantizers.terms(quantizer, x, *initial(text))
    expected = reference_quantizers.values(terms)
    if quantizer.name == "dorefa":
        expected = reference_quantizers.quantize_k(np.clip(x, 0, 1), quantizer.bits)
    gamma = arrays_of("act", text)
    if mode == "sym":
        symbol = qnn.sym.QActivation(mx.sym.Variable("x"), quantizer=text, name="act")
        executor = symbol.simple_bind(mx.cpu(), grad_req="null", x=x.shape)
        executor.copy_params_from({"x": mx.nd.array(x), **{"act_" + key: value for key, value in gamma.items()}})
        out = executor.forward()[0]
    elif mode == "nd":
        out = qnn.nd.QActivation(mx.nd.array(x), quantizer=quantizer, gamma=gamma.get("act_gamma"))
    else:
        block = qnn.gluon.QActivation(quantizer=text)
        block.initialize()
        block.hybridize(mode == "gluon_hybrid")
        out = block(mx.nd.array(x))
    np.testing.assert_array_equal(out.asnumpy(), expected)


@pytest.mark.parametrize("shape", [(7,), (2, 3), (2, 3, 4, 5, 6)])
def test_activation_of_any_rank(shape):
    x = data(*shape)
    out = qnn.nd.QActivation(mx.nd.array(x), levels=3, residual="isometric", gamma=mx.nd.array([0.3]))
    terms = reference_quantizers.isometric(x, np.float32([0.3]), 3)
    np.testing.assert_array_equal(out.asnumpy(), reference_quantizers.values(terms))


PAIRS = [(act, "deterministic_binary") for act in ACT] + [("isometric(levels=2)", weight) for weight in WEIGHT]
PAIRS += [("sign", "approx_sign"), ("sign", "twn"), ("rebnet(levels=2)", "ttq"), ("dorefa(bits=2)", "ternary"),
          ("swish_sign", "stochastic_binary"), ("quantized_relu(bits=4, limit=2.5)", "rebnet(levels=3)")]
PAIRS = [pair for pair in dict.fromkeys(PAIRS) if "identity" not in pair]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("act,weight", PAIRS)
def test_convolution_equals_reference(act, weight, mode):
    """Bit for bit: sums of codes are exact, and everything behind is rounded in one order."""
    x, w, bias = data(2, 4, 6, 5), weights(6, 2, 3, 2), np.float32([1, -2, 3, 0.5, 0, 7])
    options = dict(kernel=(3, 2), num_filter=6, stride=(2, 1), pad=(1, 1), dilate=(1, 2), num_group=2, pad_value=-1)
    out = run_layer(mode, "QConvolution", x, w, bias, act_quantizer=act, weight_quantizer=weight, **options)
    expected = _expected(reference.q_convolution, act, weight, x, w, bias, **options)
    np.testing.assert_array_equal(out, expected)
    assert np.ptp(out) > 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("act,weight", PAIRS)
def test_fully_connected_equals_reference(act, weight, mode, operators):
    x, w = data(3, 11), weights(5, 11)
    out = run_layer(mode, "QFullyConnected", x, w, act_quantizer=act, weight_quantizer=weight, num_hidden=5)
    np.testing.assert_array_equal(out, _expected(reference.q_fully_connected, act, weight, x, w, None))


def _expected(layer, act, weight, x, w, bias, kernel=None, num_filter=None, **options):
    act, weight = quantizers.get(act), quantizers.get(weight)
    if "pad_value" in options and act.code != "bipolar":
        options["pad_value"] = 0  # dorefa(bits=1) has no code -1
    return layer(x, w, bias, act_bit=act.precision, weight_bit=weight.precision,
                 act=reference_quantizers.terms(act, x, *initial(act)),
                 weight=reference_quantizers.terms(weight, w, *initial(weight)), **options)


@pytest.mark.parametrize("act", ["sign", "dorefa(bits=2)", "rebnet(levels=2)"])
@pytest.mark.parametrize("geometry", [dict(), dict(pad=(1, 2), stride=(2, 1), dilate=(2, 1)), dict(num_group=3)])
def test_scaling_by_the_magnitudes_of_windows(geometry, act, operators):
    """XNOR-Net's K is a float sum: 27 terms of up to 3, twice; an ulp each."""
    x, w = data(2, 6, 7, 8), weights(6, 6 // geometry.get("num_group", 1), 3, 3)
    options = dict(scaling="xnor", no_offset=True, **geometry)
    out = run_layer("sym", "QConvolution", x, w, act_quantizer=act, weight_quantizer="sign", kernel=(3, 3),
                    num_filter=6, **options)
    expected = _expected(reference.q_convolution, act, "sign", x, w, None, **options)
    np.testing.assert_allclose(out, expected, rtol=2 ** -18, atol=2 ** -18)
    assert np.ptp(out) > 1


@pytest.mark.parametrize("flatten", [True, False])
def test_scaling_by_the_magnitudes_of_rows(flatten, operators):
    x, w = data(3, 4, 5), weights(6, 20 if flatten else 5)
    out = qnn.nd.QFullyConnected(mx.nd.array(x), mx.nd.array(w), num_hidden=6, flatten=flatten, scaling="xnor",
                                 no_offset=True).asnumpy()
    expected = reference.q_fully_connected(x.reshape(-1, w.shape[1]), w, no_offset=True, scaling="xnor")
    np.testing.assert_allclose(out.reshape(expected.shape), expected, rtol=2 ** -20)


def test_xnor_approximates_the_float_convolution():
    """What K is for: the output approximates the convolution of the floats, which it could not without scales."""
    rng = np.random.RandomState(0)
    x, w = rng.randn(1, 64, 8, 8), rng.randn(8, 64, 3, 3)
    plain = mx.nd.Convolution(mx.nd.array(x), mx.nd.array(w), kernel=(3, 3), num_filter=8, no_bias=True).asnumpy()
    out = qnn.nd.QConvolution(mx.nd.array(x), mx.nd.array(w), kernel=(3, 3), num_filter=8, scaling="xnor",
                              no_offset=True).asnumpy()
    assert np.corrcoef(plain.ravel(), out.ravel())[0, 1] > 0.6  # 2/pi = 0.64 for normal numbers


def test_signs_keep_the_offset_map():
    """Only signs without scales of their own on both sides: everything else is a plain dot product."""
    x, w = mx.nd.ones((1, 3)), mx.nd.ones((2, 3))
    for act, weight, expected in (("approx_sign", "swish_sign", 3), ("sign", "stochastic_binary", 3),
                                  ("sign", "ternary", 3), ("sign", "dorefa_weight(bits=1)", 3)):
        out = qnn.nd.QFullyConnected(x, w, num_hidden=2, act_quantizer=act, weight_quantizer=weight)
        np.testing.assert_array_equal(out.asnumpy(), expected)
        out = qnn.nd.QFullyConnected(-x, w, num_hidden=2, act_quantizer=act, weight_quantizer=weight)
        is_offset = quantizers.get(weight).is_sign
        np.testing.assert_array_equal(out.asnumpy(), 0 if is_offset else -3)


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_nan_takes_the_uppermost_code(level, operators):
    for name in ("rebnet", "isometric"):
        out = qnn.nd.QActivation(mx.nd.array([np.nan]), levels=level, residual=name,
                                 gamma=mx.nd.array(initial("%s(levels=%d)" % (name, level))[0]))
        assert np.abs(out.asnumpy() - 1) < 2 ** -22  # the levels sum to 1
    for name in ("sign", "approx_sign", "swish_sign"):
        assert qnn.nd.QActivation(mx.nd.array([np.nan]), quantizer=name).asnumpy() == 1


def test_layer_errors_name_layer_and_argument():
    x, w = mx.nd.ones((1, 3)), mx.nd.ones((2, 3))
    for options, sentence in (
            (dict(act_quantizer="sing"), "act_quantizer: unknown quantizer 'sing'; known: approx_sign,"),
            (dict(act_quantizer="twn"), "act_quantizer is a quantizer for data, got 'twn'"),
            (dict(weight_quantizer="dorefa(bits=2)"),
             "weight_quantizer is a quantizer for weights, got 'dorefa(bits=2)'"),
            (dict(act_bit=2, act_quantizer="sign"), "act_bit is left out, or 1 as sign has, got 2"),
            (dict(act_quantizer="rebnet(levels=2)"), "act_gamma is an NDArray, got None"),
            (dict(act_quantizer="rebnet(levels=2)", act_gamma=mx.nd.ones(3)),
             "act_gamma is an array of shape (2,), got (3,)"),
            (dict(act_gamma=mx.nd.ones(1)), "act_gamma is left out: sign has no such parameter, got ")):
        with pytest.raises(OptionError) as caught:
            qnn.nd.QFullyConnected(x, w, num_hidden=2, name="fc", **options)
        assert str(caught.value).startswith("QFullyConnected 'fc': " + sentence)
    for options, sentence in (
            (dict(levels=2), "residual is 'rebnet' or 'isometric' where levels is given, got None"),
            (dict(levels=5, residual="rebnet"), "quantizer rebnet: levels is 1..4, got 5"),
            (dict(residual="rebnet"), "quantizer rebnet: levels is 1..4, got None"),
            (dict(levels=2, residual="rebnet", quantizer="sign"),
             "quantizer is left out where levels and residual are given, got 'sign'"),
            (dict(levels=2, residual="rebnet", backward_only=True),
             "backward_only is False for rebnet(levels=2), which trains parameters, got True")):
        with pytest.raises(OptionError) as caught:
            qnn.sym.QActivation(mx.sym.Variable("x"), name="act", **options)
        assert str(caught.value) == "QActivation 'act': " + sentence
    with pytest.raises(OptionError, match="^QFullyConnected 'fc': act_gamma is a symbol, got 0.5$"):
        qnn.sym.QFullyConnected(num_hidden=2, act_quantizer="isometric(levels=2)", act_gamma=0.5, name="fc")
