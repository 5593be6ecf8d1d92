"""Reference of the quantizers in plain numpy: one function each, of the name and arguments of its class.

    function(x, *parameters, **arguments) -> [(codes, scale), ...] ,   value = sum codes * scale

codes: float32 integers shaped like x; scale: None (1) or np.float32. The operations are those of the MXNet graph, in
float32 and in the same order, so that codes are equal; only tanh, and sums over whole tensors (mean|w|), may differ in
the last bit. Formulas and papers: quantizers_binary.py, quantizers_uniform.py and their siblings.
"""
import numpy as np

FLOAT = np.float32
LEAST = FLOAT(1e-12)


def sign(x):
    """q(x) = -1 if x < 0 else +1, as float32: 0, -0.0 and NaN give +1 (BMXNet's det_sign)."""
    return np.where(np.asarray(x) < 0, FLOAT(-1), FLOAT(1))


def ste_window(x, grad_clip=1.0):
    """Gradient of the clipped straight-through estimator: 1 where |x| <= grad_clip (inclusive), else 0; 0 for NaN."""
    return (np.abs(np.asarray(x)) <= FLOAT(grad_clip)).astype(FLOAT)


def round_half_away(x):
    """Rounds to the nearest integer, halves away from zero (C's roundf, MXNet's round), in float32."""
    x = np.asarray(x, FLOAT)
    return np.trunc(x) + np.sign(x) * (np.abs(x - np.trunc(x)) >= FLOAT(0.5))


def quantize_k(x, k_bits):
    """round((2^k - 1) x) / (2^k - 1), computed in float32. x in [0, 1]. (DoReFa-Net, arXiv:1606.06160, eq. 5)"""
    levels = FLOAT(2 ** k_bits - 1)
    return (round_half_away(np.asarray(x, FLOAT) * levels) / levels).astype(FLOAT)


def values(terms):
    """sum codes * scale: products and sums in the order of the terms, each rounded to float32."""
    parts = [codes if scale is None else codes * FLOAT(scale) for codes, scale in terms]
    return sum(parts[1:], parts[0])


def terms(quantizer, x, *parameters):
    """The terms of a qnn.quantizers.Quantizer. parameters: its trained arrays, in order."""
    arguments = {key: value for key, value in vars(quantizer).items() if key not in ("gamma", "positive", "negative")}
    return FUNCTIONS[quantizer.name](np.asarray(x, FLOAT), *(np.asarray(p, FLOAT) for p in parameters), **arguments)


def binary(x, **gradient):
    """sign, approx_sign, swish_sign, deterministic_binary, and stochastic_binary in inference: one code."""
    return [(sign(x), None)]


def probability(w):
    """P(+1) of stochastic_binary in training: clip((w + 1)/2, 0, 1)."""
    return np.clip((np.asarray(w, FLOAT) + 1) * FLOAT(0.5), 0, 1)


def dorefa(x, bits, clip=1.0):
    """codes = round(n clip(x, 0, 1)), n = 2^bits - 1; scale 1/n."""
    n = FLOAT(2 ** bits - 1)
    return [(round_half_away(np.clip(x, 0, 1) * n), FLOAT(1 / (2 ** bits - 1)))]


def quantized_relu(x, bits, limit=1.0):
    """codes = round(clip(x, 0, limit) n / limit); scale limit/n."""
    n = float(2 ** bits - 1)
    return [(round_half_away(np.clip(x, 0, FLOAT(limit)) * FLOAT(n / limit)), FLOAT(limit / n))]


def dorefa_weight(w, bits):
    """codes = 2 round(n (tanh(w) / (2 max|tanh(w)|) + 1/2)) - n; scale 1/n. 1 bit: sign(w); mean|w|."""
    if bits == 1:
        return [(sign(w), np.maximum(np.abs(w).mean(), LEAST))]
    n = FLOAT(2 ** bits - 1)
    squashed = np.tanh(w)
    unit = squashed / (np.maximum(np.abs(squashed).max(), LEAST) * 2) + FLOAT(0.5)
    return [(round_half_away(unit * n) * 2 - n, FLOAT(1 / (2 ** bits - 1)))]


def fixed(x, bits=8, fraction=7, narrow=False):
    """codes = floor(clip(x 2^fraction, low, high) + 1/2); scale 2^-fraction."""
    high = 2 ** (bits - 1) - 1
    with np.errstate(over="ignore"):
        cut = np.clip(x * FLOAT(2.0 ** fraction), FLOAT(-high if narrow else -high - 1), FLOAT(high))
    return [(np.floor(cut + FLOAT(0.5)), FLOAT(2.0 ** -fraction))]


def outside(w, delta):
    """+1 where w > delta, -1 where w < -delta, else 0."""
    return (w > delta).astype(FLOAT) - (w < -delta).astype(FLOAT)


def ternary(x, threshold=0.5, clip=1.0):
    """+1 where x >= threshold, -1 where x < -threshold, else 0."""
    return [((x >= FLOAT(threshold)).astype(FLOAT) - (x < FLOAT(-threshold)).astype(FLOAT), None)]


def twn(w, delta=0.7):
    """Outside delta mean|w|; scale: mean of |w| there."""
    size = np.abs(w)
    codes = outside(w, size.mean() * FLOAT(delta))
    kept = codes != 0
    return [(codes, np.maximum((size * kept).sum() / FLOAT(max(kept.sum(), 1)), LEAST))]


def ttq(w, positive, negative, threshold=0.05):
    """Outside threshold max|w|; two terms: 0, 1 times |positive|, and -1, 0 times |negative|."""
    codes = outside(w, np.abs(w).max() * FLOAT(threshold))
    return [(np.maximum(codes, 0), _magnitude(positive)[0]), (np.minimum(codes, 0), _magnitude(negative)[0])]


def _magnitude(gamma):
    return np.maximum(np.abs(gamma), LEAST)


def residuals(x, sizes):
    """[(r_l, sign(r_l)), ...]: r_1 = x, r_{l+1} = r_l - size_l sign(r_l)."""
    found, rest = [], np.asarray(x, FLOAT)
    for size in sizes:
        found.append((rest, sign(rest)))
        rest = rest - sign(rest) * FLOAT(size)
    return found


def rebnet(x, gamma, levels):
    """codes = signs of the residuals; scales |gamma_l|."""
    return [(codes, size) for (_, codes), size in zip(residuals(x, _magnitude(gamma)), _magnitude(gamma))]


def isometric(x, gamma, levels):
    """codes = 2u - (2^M - 1), u = clamp(floor(x / (2s)) + 2^(M-1), 0, 2^M - 1), u = 2^M - 1 for NaN; scale s =
    |gamma| / 2^(M-1)."""
    scale = _magnitude(gamma)[0] * FLOAT(2.0 ** (1 - levels))
    half, top = FLOAT(2 ** (levels - 1)), FLOAT(2 ** levels - 1)
    with np.errstate(over="ignore", invalid="ignore"):
        quotient = x / (scale * 2)
        u = np.where(quotient < half - 1, np.clip(np.floor(quotient) + half, 0, top), top)
    return [((u * 2 - top).astype(FLOAT), scale)]


def identity(x):
    """32 bits: x itself."""
    return [(x, None)]


FUNCTIONS = {function.__name__: function for function in (
    dorefa, quantized_relu, dorefa_weight, fixed, ternary, twn, ttq, rebnet, isometric, identity)}
FUNCTIONS.update(dict.fromkeys(("sign", "approx_sign", "swish_sign", "deterministic_binary", "stochastic_binary"),
                               binary))


# ---- by bits ---------------------------------------------------------------------------------------------------------


def activation_terms(x, act_bit):
    """What act_bit means: 1: sign, 2..31: dorefa, 32: identity."""
    x = np.asarray(x, FLOAT)
    if act_bit in (1, 32):
        return (binary if act_bit == 1 else identity)(x)
    return dorefa(x, act_bit)


def weight_terms(w, weight_bit):
    """What weight_bit means: 1: sign, 2..31: dorefa_weight, 32: identity."""
    w = np.asarray(w, FLOAT)
    if weight_bit in (1, 32):
        return (binary if weight_bit == 1 else identity)(w)
    return dorefa_weight(w, weight_bit)


def quantize_activation(x, act_bit):
    """Values: 1 bit: sign(x); 2..31 bits: quantize_k(clip(x, 0, 1)); 32 bits: x."""
    return values(activation_terms(x, act_bit)) if act_bit in (1, 32) else quantize_k(np.clip(x, 0, 1), act_bit)


def quantize_weight(w, weight_bit):
    """Values of the weights: 1 bit: sign(w); 2..31 bits: -1..1 in 2^k - 1 steps of tanh(w) (DoReFa-Net, eq. 9)."""
    return values(weight_terms(w, weight_bit))
