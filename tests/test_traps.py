"""Traps of MXNet 1.9.1 that a layer could fall into: later loads, second imports, shapes that are not known yet, types,
error texts. (grad_req='add', shared weights: test_gradients_sharing.py; rewritten graphs: test_traps_inference.py.)"""
import os
import subprocess
import sys

import mxnet as mx
import numpy as np
import pytest

import qnn

native = pytest.mark.skipif(not qnn.backend.is_native, reason="qnn._native is not built")


def _run(code, **environment):
    """(exit code, standard output, standard error) of a Python program: for what could crash this one."""
    done = subprocess.run([sys.executable, "-c", "import qnn, mxnet as mx, numpy as np\n" + code], capture_output=True,
                          text=True, timeout=120, env={**os.environ, **environment})
    return done.returncode, done.stdout, done.stderr


# ---- the operator library --------------------------------------------------------------------------------------------

LOAD = """
import sys, mxnet.library
loads, load = [], mx.library.load
mx.library.load = lambda *a, **k: (loads.append(a), load(*a, **k))
before = mx.sym.QConvolution
load(qnn.backend.native_path(), verbose=False)  # what any other operator library does, too: setattr of all operators
assert mx.sym.QConvolution is before is qnn.sym.QConvolution and mx.nd.QActivation is qnn.nd.QActivation
for _ in range(3):
    for name in [name for name in sys.modules if name.split(".")[0] == "qnn" and not name.startswith("qnn._native")]:
        del sys.modules[name]
    import qnn
assert loads == [], loads
assert mx.sym.QConvolution is qnn.sym.QConvolution is not before
out = mx.nd.QActivation(mx.nd.array([-1, 0, 1])).asnumpy()
assert out.tolist() == [-1, 1, 1], out
net = mx.sym.QFullyConnected(mx.sym.Variable("data"), num_hidden=2, name="fc")
assert net.list_arguments() == ["data", "fc_weight"]
print("well")
"""


@native
def test_later_loads_and_second_imports():
    """A later mx.library.load rewrites mx.sym; a third load of one file raises; so: private names, and one load."""
    code, out, err = _run(LOAD)
    assert (code, out) == (0, "well\n"), err[-2000:]


@native
def test_native_operators_have_private_names():
    assert not [name for name in dir(mx.sym) + dir(mx.nd) if "qnn" in name.lower()]
    assert hasattr(mx.sym._internal, "_qnn_sign") and hasattr(mx.nd._internal, "_qnn_sign")


# ---- shapes ----------------------------------------------------------------------------------------------------------

UNKNOWN = """
data = mx.sym.Variable("data")
def attempt(name, run):
    try:
        print(":" + name, run())
    except Exception as error:
        print(":" + name, type(error).__name__, str(error).strip().splitlines()[-1], flush=True)
w, b = mx.sym.Variable("w"), mx.sym.Variable("b")
nets = {
    "activation": qnn.sym.QActivation(data),
    "backward_only": qnn.sym.QActivation(data, backward_only=True),
    "two_bits": qnn.sym.QActivation(data, act_bit=2),
    "convolution": qnn.sym.QConvolution(data, w, b, kernel=(3, 3), num_filter=2, no_bias=False),
    "padded": qnn.sym.QConvolution(data, w, b, kernel=(3, 3), num_filter=2, pad=(1, 1), no_bias=False,
                                   scaling="filter"),
    "dense": qnn.sym.QFullyConnected(data, w, b, num_hidden=2, no_bias=False),
    "behind": qnn.sym.QActivation(mx.sym.Variable("h")) + mx.sym.FullyConnected(data, num_hidden=2),
}
for name, net in nets.items():
    attempt(name, lambda: net.infer_shape())
    attempt(name, lambda: net.infer_shape_partial())
    attempt(name, lambda: net.simple_bind(mx.cpu()))
    attempt(name, lambda: net.infer_shape(w=(2, 3, 3, 3)) if "w" in net.list_arguments() else None)
print("alive")
"""


def test_data_of_unknown_rank_raises_and_never_crashes():
    """MXNet sizes a buffer by the sum of the ranks, -1 for unknown ones: bad_alloc or a segfault in naive operators."""
    code, out, err = _run(UNKNOWN)
    assert code == 0 and out.endswith("alive\n"), (code, out, err[-2000:])
    answers = [line[1:] for line in out.splitlines() if line.startswith(":")]
    assert len(answers) == 28
    for line in answers:  # an error that names the operator, or "unknown", as the built-ins of 2 bits say
        assert "Error in operator" in line or "None" in line or "()" in line, line


@pytest.mark.parametrize("no_bias", [True, False])
@pytest.mark.parametrize("op,options,data,weight", [
    ("QConvolution", dict(kernel=(3, 2), num_filter=4, num_group=2, pad=(1, 1)), (2, 6, 5, 5), (4, 3, 3, 2)),
    ("QConvolution", dict(kernel=(3,), num_filter=4), (2, 6, 5), (4, 6, 3)),
    ("QFullyConnected", dict(num_hidden=4), (2, 3, 5), (4, 15)),
    ("QFullyConnected", dict(num_hidden=4, flatten=False), (2, 3, 5), (4, 5)),
])
@pytest.mark.parametrize("bits", [1, 2, 32])
@pytest.mark.parametrize("scaling", ["none", "layer", "filter"])
def test_shapes_of_variables_are_inferred(op, options, data, weight, no_bias, bits, scaling):
    """Also of variables that the user made without a shape: built-ins quantize weights, and infer backwards."""
    given = [mx.sym.Variable(name) for name in ("data", "w", "b")][:2 if no_bias else 3]
    net = getattr(qnn.sym, op)(*given, no_bias=no_bias, act_bit=bits, weight_bit=bits, scaling=scaling, **options)
    assert net.infer_shape(data=data)[0] == [data, weight, (4,)][:len(given)]
    behind = qnn.sym.QActivation(net)  # a native operator cannot wait for shapes that come backwards
    assert behind.infer_shape(data=data)[1] == net.infer_shape(data=data)[1]


def test_partially_known_shapes():
    """With the batch unknown, what is known comes out, or an MXNetError; not a wrong number."""
    for act_bit in (1, 2):
        net = qnn.sym.QFullyConnected(mx.sym.Variable("data"), num_hidden=4, act_bit=act_bit, name="fc")
        try:
            shapes, outputs, _ = net.infer_shape_partial(data=(0, 15))
        except mx.MXNetError as error:
            assert "unknown dimensions" in str(error)
        else:
            assert shapes[1] in ((4, 15), ()) and outputs[0] in ((0, 4), ())


def test_shape_mismatch_names_the_layer():
    net = qnn.sym.QConvolution(mx.sym.Variable("data"), kernel=(3, 3), num_filter=4, name="conv7")
    with pytest.raises(mx.MXNetError, match="conv7"):
        net.infer_shape(data=(1, 3, 8, 8), conv7_weight=(4, 5, 3, 3))
    with pytest.raises(mx.MXNetError):
        net.infer_shape(data=(1, 3, 2, 2))  # kernel exceeds the image
    with pytest.raises(mx.MXNetError):
        qnn.nd.QConvolution(mx.nd.ones((1, 3, 8, 8)), mx.nd.ones((4, 5, 3, 3)), kernel=(3, 3), num_filter=4).asnumpy()
    with pytest.raises(mx.MXNetError):
        qnn.nd.QFullyConnected(mx.nd.ones((1, 3)), mx.nd.ones((4, 5)), num_hidden=4).asnumpy()


@pytest.mark.parametrize("pad", [(2 ** 31 + 1, 0), (0, 2 ** 30), (2 ** 63, 2 ** 63), (2 ** 29 + 1, 0)])
def test_padding_beyond_32_bits_does_not_wrap(pad):
    """MXNet takes twice the pad in 32 bits: with 2^31 + 1 it would give the output of pad 1."""
    data, w = mx.nd.ones((1, 1, 2, 2)), mx.nd.ones((1, 1, 3, 3))
    with pytest.raises(ValueError, match=r"pad is up to 536870912, got \(%d, %d\)" % pad):
        qnn.nd.QConvolution(data, w, kernel=(3, 3), num_filter=1, pad=pad)


@native
@pytest.mark.parametrize("shape", [(0, 3, 8, 8), (2, 0, 8, 8)])
def test_empty_batches_are_refused_with_a_sentence(shape):
    data = mx.sym.Variable("data")
    with mx.util.np_shape(True):  # elsewhere 0 means unknown
        empty = mx.nd.zeros(shape)
        for net in (qnn.sym.QActivation(data, name="act"),
                    qnn.sym.QConvolution(data, kernel=(3, 3), num_filter=4, name="conv"),
                    qnn.sym.QFullyConnected(data, num_hidden=4, name="fc")):
            with pytest.raises(mx.MXNetError, match="without empty or unknown dimensions"):
                net.infer_shape(data=shape)
        sentence = r"QActivation: data is an array with elements, got \(%d, %d, 8, 8\)" % shape[:2]
        with pytest.raises(ValueError, match=sentence):
            qnn.nd.QActivation(empty)
        with pytest.raises(ValueError, match="QConvolution 'conv7': data is an array with elements"):
            qnn.nd.QConvolution(empty, mx.nd.ones((4, 3, 3, 3)), kernel=(3, 3), num_filter=4, name="conv7")
        with pytest.raises(ValueError, match="QFullyConnected: data is an array with elements"):
            qnn.nd.QFullyConnected(empty, mx.nd.ones((4, 3)), num_hidden=4)


# ---- types -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "float64", "int32", "uint8"])
def test_other_types_than_float32_are_refused_by_arrays(dtype):
    x, w = mx.nd.ones((2, 3), dtype=dtype), mx.nd.ones((4, 3))
    sentence = r"QFullyConnected 'fc': data is a float32 array \(use .astype\('float32'\)\), got '%s'" % dtype
    with pytest.raises(ValueError, match=sentence):
        qnn.nd.QFullyConnected(x, w, num_hidden=4, name="fc")
    with pytest.raises(ValueError, match="QActivation: data is a float32 array .* got '%s'" % dtype):
        qnn.nd.QActivation(x)
    with pytest.raises(ValueError, match="weight is a float32 array .* got '%s'" % dtype):
        qnn.nd.QFullyConnected(w, mx.nd.ones((4, 3), dtype=dtype), num_hidden=4)


@native
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_types_than_float32_are_refused_by_symbols(dtype):
    data = mx.sym.Variable("data")
    for net in (qnn.sym.QActivation(data), qnn.sym.QActivation(data, backward_only=True),
                qnn.sym.QFullyConnected(data, num_hidden=4), qnn.sym.QConvolution(data, kernel=(1, 1), num_filter=4)):
        with pytest.raises(mx.MXNetError, match="takes float32 data, got %s; cast it first" % dtype):
            net.infer_type(data=dtype)


def test_sparse_arrays():
    with pytest.raises(ValueError, match=r"QActivation: data is a dense array .use .tostype\('default'\)., got 'csr'"):
        qnn.nd.QActivation(mx.nd.array(np.eye(3)).tostype("csr"))


def test_something_else_than_an_array():
    with pytest.raises(ValueError, match="QActivation: data is an NDArray"):
        qnn.nd.QActivation(np.ones(3, np.float32))
    with pytest.raises(ValueError, match="weight is an NDArray"):
        qnn.nd.QFullyConnected(mx.nd.ones((2, 3)), None, num_hidden=3)
    with pytest.raises(ValueError, match="bias is an NDArray"):
        qnn.nd.QFullyConnected(mx.nd.ones((2, 3)), mx.nd.ones((3, 3)), num_hidden=3, no_bias=False)


# ---- attributes and error texts --------------------------------------------------------------------------------------


@native
def test_native_operators_refuse_unknown_attributes_but_take_hidden_ones():
    data = mx.sym.Variable("data")
    with pytest.raises(mx.MXNetError, match="_qnn_sign has no attribute 'grad_klip'"):
        mx.sym._internal._qnn_sign(data, grad_klip=1)
    with pytest.raises(mx.MXNetError, match="pad_value is a number, got 'x'"):
        mx.nd._internal._qnn_sign(mx.nd.ones((2,)), pad_value="x").asnumpy()
    with pytest.raises(mx.MXNetError, match="pads the last one or two axes"):
        mx.nd._internal._qnn_sign(mx.nd.ones((2, 2, 2)), pad=(1, 1, 1)).asnumpy()
    with mx.AttrScope(__lr_mult__="2", __ctx_group__="a", ctx_group="b", __mine__="c"):
        net = mx.sym._internal._qnn_sign(data, grad_clip=1, attr={"__more__": "d"})
        net = qnn.sym.QActivation(net, attr={"__more__": "d"})
    assert net.simple_bind(mx.cpu(), data=(2, 3)).forward()[0].shape == (2, 3)


@native
def test_graphs_saved_with_padded_signs_still_run():
    """QConvolution once padded its data by _qnn_sign, which saved graphs tell."""
    x, dy = mx.nd.array(np.random.RandomState(0).randn(2, 3, 4, 5)), mx.nd.ones((2, 3, 6, 9))
    x.attach_grad()
    with mx.autograd.record():
        y = mx.nd._internal._qnn_sign(x, grad_clip=0.5, pad=(1, 2), pad_value=1)
    y.backward(dy)
    y = y.asnumpy()
    assert (y[:, :, 1:-1, 2:-2] == qnn.reference.sign(x.asnumpy())).all() and (y[:, :, :, :2] == 1).all()
    assert (x.grad.asnumpy() == (abs(x.asnumpy()) <= 0.5)).all()


@native
def test_error_texts_do_not_pile_up():
    """MX_ERROR_MSG of lib_api repeats every earlier message in each later one."""
    texts = []
    for number in range(5):
        with pytest.raises(mx.MXNetError) as caught:
            mx.sym._internal._qnn_sign(mx.sym.Variable("data"), **{"unknown%d" % number: 1})
        texts.append(str(caught.value))
    assert "unknown4" in texts[-1] and "unknown3" not in texts[-1]
    assert len(texts[-1]) == len(texts[0])


@native
def test_a_failing_operator_leaves_the_process_usable():
    with pytest.raises(mx.MXNetError):
        qnn.nd.QConvolution(mx.nd.ones((1, 1, 2, 2)), mx.nd.ones((1, 1, 3, 3)), kernel=(3, 3), num_filter=1).asnumpy()
    np.testing.assert_array_equal(qnn.nd.QActivation(mx.nd.array([-2, 2])).asnumpy(), [-1, 1])
