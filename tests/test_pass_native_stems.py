"""NativeStems: the float operators in front of the first packed layers become one, where they give the same bits.
stages() holds all outputs to those of the training graph."""
import mxnet as mx
import numpy as np
import pytest
from qnn.converter.passes import stem_numbers
from stages import X, conv, norm, pool, stages

import qnn
from qnn import backend

pytestmark = pytest.mark.skipif(
    not any(row["name"] == "avx2" and row["is_usable"] for row in backend.isa_table()),
    reason="oneDNN adds in this order with AVX2 and AVX-512 only; elsewhere stems stay MXNet's")
WIDE = np.random.RandomState(6).randn(3, 3, 19, 14).astype(np.float32)


def relu(net):
    return mx.sym.Activation(net, act_type="relu")


def tanh(net):
    return mx.sym.Activation(net, act_type="tanh")


def first_layer(num_filter=16, no_bias=True, data=X, **options):
    geometry = {"kernel": (3, 3), "pad": (1, 1), **options}
    return mx.sym.Convolution(data, num_filter=num_filter, no_bias=no_bias, name="stem", **geometry)


def after(symbol, edit=None):
    def edit_more(args, auxs):
        if "bn_moving_mean" in auxs:  # where tanh is steep
            auxs["bn_moving_mean"][:] = np.clip(auxs["bn_moving_mean"], -0.9, 0.9)
        if edit is not None:
            edit(args, auxs)

    return stages(symbol, WIDE, edit_more)["native_stems"]


FOLDED = {
    "alone": lambda: first_layer(),
    "bias": lambda: first_layer(no_bias=False),
    "norm": lambda: norm(first_layer(), "bn"),
    "bias and norm": lambda: norm(first_layer(no_bias=False), "bn"),
    "norm of data": lambda: first_layer(data=norm(X, "bn_data")),
    "relu": lambda: relu(first_layer(no_bias=False)),
    "relu, norm": lambda: norm(relu(first_layer(48)), "bn"),
    "norm, relu, pool, norm": lambda: norm(pool(relu(norm(first_layer(64), "bn0")), "pool"), "bn1"),
    "strided": lambda: norm(pool(relu(norm(first_layer(32, kernel=(7, 5), stride=(2, 2), pad=(3, 1)), "bn0")), "pool",
                                 kernel=(3, 3), pad=(1, 1)), "bn1"),
    "pool, norm": lambda: norm(pool(first_layer(no_bias=False), "pool", stride=(1, 1)), "bn1"),
    "norm, norm": lambda: norm(norm(first_layer(), "bn0"), "bn1"),
    "tanh, norm": lambda: norm(tanh(first_layer(no_bias=False)), "bn"),
    "tanh, pool, norm": lambda: norm(pool(tanh(first_layer(64)), "pool"), "bn"),
}


@pytest.mark.parametrize("name", sorted(FOLDED))
def test_one_operator(name):
    stage = after(conv(FOLDED[name](), "conv"))
    assert stage.changes == 1 and stage.ops[:2] == ["_qnn_stem_convolution", "_qnn_pack"]
    assert not {"Convolution", "BatchNorm", "Activation", "Pooling"} & set(stage.ops)
    assert sum(name.startswith("stem_stem_") for name in stage.params) == len(
        [node for node in stage.graph.find("stem").inputs if node[0].name != "data"])
    assert "stem_weight" not in stage.params


@pytest.mark.parametrize("seed", range(3))
def test_falling_and_constant_norms(seed):
    def edit(args, auxs):
        rs = np.random.RandomState(seed)
        for name in [name for name in args if name.endswith("gamma")]:
            args[name][:] = rs.choice(np.float32([-1.5, 0, 1e-20, 0.7]), args[name].shape)

    assert after(conv(FOLDED["norm, relu, pool, norm"](), "conv"), edit=edit).changes == 1
    assert after(conv(FOLDED["tanh, pool, norm"](), "conv"), edit=edit).changes == 1


@pytest.mark.parametrize("net", [FOLDED["norm, relu, pool, norm"], FOLDED["relu"]])
def test_codes_of_several_bits(net):
    stage = after(qnn.sym.QConvolution(qnn.sym.QActivation(net(), act_bit=2), act_bit=2, kernel=(3, 3), num_filter=8,
                                       weight_bit=1, name="conv"))
    assert stage.changes == 1 and "Convolution" not in stage.ops and "BatchNorm" not in stage.ops


def test_a_shortcut_reads_the_same_floats():
    source = pool(relu(norm(first_layer(), "bn0")), "pool")
    stage = after(conv(source, "a", num_filter=16) + source)
    assert stage.changes == 1 and stage.count("transpose") == 1  # behind the last layer
    assert stage.attrs("a")["has_residual"] == "True"


def test_two_layers_behind_norms_of_their_own():
    source = relu(first_layer(32))
    stage = after(mx.sym.Group([conv(norm(source, "bn1"), "a"), conv(norm(source, "bn2"), "b")]))
    assert stage.changes == 1 and stage.count("_qnn_pack") == 2 and stage.count("BatchNorm") == 0


@pytest.mark.parametrize("net", [
    lambda: first_layer(20), lambda: first_layer(16, dilate=(2, 2), pad=(2, 2)),
    lambda: first_layer(48, num_group=3),
    lambda: first_layer(data=mx.sym.concat(X, X, dim=1)),
    lambda: pool(first_layer(), "pool", pool_type="avg"),
    lambda: pool(first_layer(), "pool", kernel=(3, 3), pooling_convention="full"),
    lambda: mx.sym.LeakyReLU(first_layer()), lambda: mx.sym.sigmoid(first_layer()),
    lambda: mx.sym.Dropout(tanh(norm(first_layer(), "bn")), p=0.5)],
    ids=["20 filters", "dilated", "groups", "6 channels", "average", "full", "leaky", "sigmoid", "tanh behind norm"])
def test_what_stays(net):
    stage = after(conv(norm(net(), "last"), "conv"))
    assert stage.changes == 0 and stage.count("_qnn_stem_convolution") == 0


def test_a_head_of_floats_stays():
    source = relu(first_layer())
    assert after(mx.sym.Group([conv(source, "conv"), source])).changes == 0


def test_other_bits_stay(monkeypatch):
    """The native operator is compared with the graph's own, whatever it is trusted with."""
    def almost(*arguments, **options):
        y = native(*arguments, **options)
        y[..., 0] = np.nextafter(y[..., 0], np.float32(np.inf))
        return y

    native = stem_numbers.stem_convolution
    monkeypatch.setattr(stem_numbers, "stem_convolution", almost)
    for name in ("relu", "norm, relu, pool, norm", "tanh, pool, norm"):
        assert after(conv(FOLDED[name](), "conv")).changes == 0


def test_thresholds_where_tanh_is_flat_stay():
    """tanh(8.1) and tanh(8.2) are neighbours, and oneDNN's tanh is not monotone there."""
    def edit(args, auxs):
        args["bn_gamma"][:], args["bn_beta"][:], auxs["bn_moving_var"][:] = 1, 0, 1
        auxs["bn_moving_mean"][:] = 0
        auxs["bn_moving_mean"][5] = 0.9999998

    assert after(conv(FOLDED["tanh, pool, norm"](), "conv"), edit=edit).changes == 0


def test_steps():
    threshold, falls = np.float32([0.5, -0.25]), np.array([False, True])

    def codes(x):
        return np.stack([x[0] >= 0.5, ~(x[1] >= -0.25)]).astype(np.int64)

    assert stem_numbers.are_steps(codes, threshold, falls)
    dent = np.nextafter(np.float32(-0.25), np.float32(0))
    assert not stem_numbers.are_steps(lambda x: codes(x) ^ np.stack([x[0] != x[0], x[1] == dent]), threshold, falls)
