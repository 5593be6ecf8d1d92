"""Thresholds against the function itself, at every accumulator and around every float threshold; and the BatchNorm
formula against MXNet, bit for bit."""
import mxnet as mx
import numpy as np
import pytest

from qnn.thresholds import ALWAYS, NEVER, BatchNorm, accumulators, float_thresholds, integer_thresholds, sign_codes

GAMMAS = np.array([1, -1, 0, -0.0, 1e-30, -1e30, 3e-7, 0.5, -0.25], np.float32)


def batch_norm(channels, seed=0, spread=100.0):
    random = np.random.RandomState(seed)
    gamma = random.randn(channels).astype(np.float32)
    gamma[:len(GAMMAS)] = GAMMAS[:channels]
    beta, mean = (random.randn(channels) * 3).astype(np.float32), (random.randn(channels) * spread).astype(np.float32)
    beta[::5], mean[::4] = 0, np.rint(mean[::4])  # ties: (x - mean) hits 0 exactly
    return BatchNorm(gamma, beta, mean, (random.rand(channels) * 50 + 0.1).astype(np.float32), 2e-5), gamma


def signs_of(function):
    return lambda x: sign_codes(function(x))


@pytest.mark.parametrize("shape", [(4, 64, 7, 5), (2, 20, 3, 3), (3, 1, 4, 4), (8, 100), (1, 33)])
@pytest.mark.parametrize("grad_req", ["null", "write"])
@pytest.mark.parametrize("fix_gamma", [True, False])
def test_formula_is_that_of_mxnet(shape, grad_req, fix_gamma):
    random, channels = np.random.RandomState(1), shape[1]
    gamma, beta, mean = (random.randn(channels).astype(np.float32) * s for s in (1, 3, 100))
    var = (random.rand(channels) * 500 + 1).astype(np.float32)
    data = random.randint(-500, 500, shape).astype(np.float32)
    symbol = mx.sym.BatchNorm(mx.sym.Variable("data"), eps=2e-5, fix_gamma=fix_gamma, name="bn")
    executor = symbol.simple_bind(mx.cpu(), grad_req=grad_req, data=shape)
    executor.copy_params_from({"bn_gamma": mx.nd.array(gamma), "bn_beta": mx.nd.array(beta)},
                              {"bn_moving_mean": mx.nd.array(mean), "bn_moving_var": mx.nd.array(var)})
    got = executor.forward(is_train=False, data=mx.nd.array(data))[0].asnumpy()
    ours = BatchNorm(np.ones_like(gamma) if fix_gamma else gamma, beta, mean, var, 2e-5)
    expected = ours(np.moveaxis(data, 1, 0).reshape(channels, -1))
    np.testing.assert_array_equal(np.moveaxis(got, 1, 0).reshape(channels, -1), expected)


@pytest.mark.parametrize("no_offset", [True, False])
@pytest.mark.parametrize("has_zero_padding", [True, False])
@pytest.mark.parametrize("k", [1, 2, 9, 575, 576])
def test_integer_thresholds_hold_at_every_accumulator(k, no_offset, has_zero_padding):
    function, _ = batch_norm(40, seed=k, spread=k)
    dots, values = accumulators(k, no_offset, has_zero_padding)
    threshold, is_falling = integer_thresholds(signs_of(function), 40, dots, values)
    bits = (dots[None] >= threshold[:, None]) ^ is_falling[:, None]
    np.testing.assert_array_equal(bits, ~(function(np.broadcast_to(values, (40, len(values)))) < 0))
    assert len(dots) == (2 * k + 1 if has_zero_padding else k + 1)
    assert no_offset or (values.min(), values.max()) == (0, k)


def test_gamma_zero_is_a_constant():
    function = BatchNorm([0, 0, 0], [1, -1, 0], [3, 3, 3], [1, 1, 1], 1e-3)
    threshold, is_falling = integer_thresholds(signs_of(function), 3, *accumulators(64, False, False))
    assert threshold.tolist() == [ALWAYS, NEVER, ALWAYS] and not is_falling.any()


def test_a_function_without_a_single_step_is_refused():
    assert integer_thresholds(lambda x: sign_codes(np.abs(x) - 5), 2, *accumulators(20, True, False)) is None


def test_nan_parameters_give_plus_one():
    function = BatchNorm([np.nan, 1], [0, np.nan], [0, 0], [1, 1], 1e-3)
    threshold, is_falling = integer_thresholds(signs_of(function), 2, *accumulators(8, True, False))
    assert threshold.tolist() == [ALWAYS, ALWAYS] and not is_falling.any()


@pytest.mark.parametrize("seed", range(5))
def test_float_thresholds_hold_around_the_step(seed):
    function, gamma = batch_norm(60, seed)
    threshold, is_falling = float_thresholds(signs_of(function), 60)
    np.testing.assert_array_equal(is_falling[1:2], [True])
    steps = np.stack([np.nextafter(threshold, np.float32(-np.inf)), threshold,
                      np.nextafter(threshold, np.float32(np.inf))], axis=1)
    random = np.random.RandomState(seed).randn(60, 500).astype(np.float32) * np.float32(100)
    x = np.concatenate([np.where(np.isfinite(steps), steps, 0), random,
                        np.full((60, 2), [np.nan, -0.0], np.float32)], 1)
    bits = np.where(is_falling[:, None], ~(x >= threshold[:, None]), ~(x < threshold[:, None]))
    np.testing.assert_array_equal(bits, ~(function(x) < 0))


def two_bits(function):
    """A quantizer of four levels behind `function`: -1/2, 0 and 1/2 are its steps."""
    return lambda x: np.digitize(function(x), [-0.5, 0, 0.5])


@pytest.mark.parametrize("k", [1, 9, 575])
def test_integer_thresholds_of_codes_hold_at_every_accumulator(k, monkeypatch):
    monkeypatch.setattr("qnn.thresholds.CHUNK", 40 * 100)  # tables longer than one piece
    codes = two_bits(batch_norm(40, seed=k, spread=k)[0])
    integers, values = accumulators(k, True, True)
    threshold, is_falling = integer_thresholds(codes, 40, integers, values, levels=3)
    assert threshold.shape == (40, 3) and (np.diff(threshold.astype(np.int64)) >= 0).all() and is_falling.any()
    reached = (integers[None, :, None] >= threshold[:, None]).sum(axis=2)
    found = np.where(is_falling[:, None], 3 - reached, reached)
    np.testing.assert_array_equal(found, codes(np.broadcast_to(values, (40, len(values)))))


def test_codes_that_step_back_between_two_pieces_are_refused(monkeypatch):
    monkeypatch.setattr("qnn.thresholds.CHUNK", 4)
    values = np.arange(8, dtype=np.float32)
    assert integer_thresholds(lambda x: (x >= 2) * 2 - (x >= 4) + (x > 6), 1, values, values, levels=3) is None


@pytest.mark.parametrize("seed", range(3))
def test_float_thresholds_of_codes_hold_around_the_steps(seed):
    codes = two_bits(batch_norm(60, seed)[0])
    threshold, is_falling = float_thresholds(codes, 60, levels=3)
    near = [threshold, np.nextafter(threshold, np.float32(-np.inf)), np.nextafter(threshold, np.float32(np.inf))]
    x = np.concatenate(near + [np.random.RandomState(seed).randn(60, 300).astype(np.float32) * np.float32(100)], 1)
    x = np.where(np.isfinite(x), x, np.float32(0))
    reached = (~(x[..., None] < threshold[:, None])).sum(axis=2)
    missing = (~(x[..., None] >= threshold[:, None])).sum(axis=2)
    np.testing.assert_array_equal(np.where(is_falling[:, None], missing, reached), codes(x))
