"""QConvolution on _qnn_convolution, of every instruction set, beside the same layer on MXNet's own operators: the same
forward pass to the last bit, gradients as close as float32 sums are."""
import json
import os
import subprocess
import sys

import mxnet as mx
import numpy as np
import pytest
from native_cases import ISAS

import qnn
from qnn import backend

pytestmark = pytest.mark.skipif(not backend.is_native, reason="qnn._native is not built")
LAYERS = {
    "signs": dict(pad=(1, 1)), "no_offset": dict(pad=(1, 1), no_offset=True), "border_0": dict(pad=(2, 1), pad_value=0),
    "border_minus_1": dict(pad=(1, 0), pad_value=-1, no_bias=False), "strided": dict(stride=(2, 3), no_bias=False),
    "dilated": dict(dilate=(2, 1), pad=(1, 2)), "filter": dict(scaling="filter", pad=(1, 1), no_bias=False),
    "xnor": dict(scaling="xnor", pad=(1, 1)), "k_bit": dict(act_bit=2, weight_bit=3, pad=(1, 1), no_bias=False),
    "eight_bits": dict(act_bit=8, weight_bit=1), "ternary": dict(weight_quantizer="twn", pad=(1, 1)),
    "two_ttq": dict(act_quantizer="quantized_relu(bits=4)", weight_quantizer="ttq"),
    "rebnet": dict(act_quantizer="rebnet(levels=2)", weight_quantizer="sign", pad=(1, 1)),
    "isometric": dict(act_quantizer="isometric(levels=3)", weight_quantizer="rebnet(levels=2)"),
    "fixed": dict(act_quantizer="fixed(bits=6, fraction=3)", weight_quantizer="dorefa_weight(bits=4)"),
}


@pytest.fixture(params=ISAS)
def tiled(request, monkeypatch):
    """Layers take the operator, whatever the instruction set that it runs on."""
    before = backend.isa()
    backend.select_isa(request.param)
    monkeypatch.setattr(backend, "has_fast_training", lambda: True)
    yield request.param
    backend.select_isa(before)


def ops(symbol):
    return [node["op"] for node in json.loads(symbol.tojson())["nodes"]]


def convolution(data=None, name="c", **options):
    return qnn.sym.QConvolution(mx.sym.Variable("data") if data is None else data, name=name,
                                **{"kernel": (3, 3), "num_filter": 20, **options})


def step(symbol, shape=(5, 37, 7, 9), grad_req="write", times=1):
    """(output, gradients by name) of random arrays."""
    executor = symbol.simple_bind(mx.cpu(), data=shape, grad_req=grad_req)
    rs = np.random.RandomState(0)
    for name, array in sorted(executor.arg_dict.items()):
        array[:] = mx.nd.array(rs.randn(*array.shape) * (0.3 if "weight" in name else 1.0))
        executor.grad_dict[name][:] = 0
    for _ in range(times):
        y = executor.forward(is_train=True)[0]
        executor.backward(mx.nd.array(np.random.RandomState(1).randn(*y.shape)))
    return y.asnumpy(), {name: grad.asnumpy() for name, grad in executor.grad_dict.items()}


@pytest.mark.parametrize("options", LAYERS.values(), ids=LAYERS)
def test_beside_builtin_operators(options, tiled):
    assert "_qnn_convolution" in ops(convolution(**options))
    y, grads = step(convolution(**options))
    with qnn.builtin_operators():
        assert "_qnn_convolution" not in ops(convolution(**options))
        wanted, wanted_grads = step(convolution(**options))
    np.testing.assert_array_equal(y, wanted)
    assert set(grads) == set(wanted_grads)
    for name, grad in grads.items():
        scale = np.abs(wanted_grads[name]).max()
        np.testing.assert_allclose(grad / scale, wanted_grads[name] / scale, atol=2e-5, err_msg=name)


def test_grad_req_add(tiled):
    _, once = step(convolution(pad=(1, 1), no_bias=False))
    _, thrice = step(convolution(pad=(1, 1), no_bias=False), grad_req="add", times=3)
    for name, grad in once.items():
        np.testing.assert_allclose(thrice[name], 3 * grad, rtol=1e-5, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("bits", [1, 2])
def test_shapes_flow_back_to_the_parameters(bits, tiled):
    net = convolution(convolution(act_bit=bits, weight_bit=bits, no_bias=False), "d", act_bit=bits, weight_bit=bits)
    arguments, outputs, _ = net.infer_shape(data=(2, 5, 9, 8))
    shapes = dict(zip(net.list_arguments(), arguments))
    assert shapes == {"data": (2, 5, 9, 8), "c_weight": (20, 5, 3, 3), "c_bias": (20,), "d_weight": (20, 20, 3, 3)}
    assert outputs == [(2, 20, 5, 4)]
    mx.viz.print_summary(net, shape={"data": (2, 5, 9, 8)})


@pytest.mark.parametrize("act_bit", [1, 2])
def test_gluon_finds_shapes_late(act_bit, tiled, tmp_path):
    net = mx.gluon.nn.HybridSequential()
    net.add(qnn.gluon.QConv2D(18, 3, padding=(1, 1), bits=act_bit))
    net.add(qnn.gluon.QConv2D(7, 1, strides=(2, 2), bits=act_bit))
    net.initialize(mx.init.Uniform(1))
    x = mx.nd.random.uniform(-1, 1, (3, 4, 6, 6))
    first = net(x).asnumpy()
    net.hybridize()
    with mx.autograd.record():
        y = net(x)
    y.backward()
    assert net[0].weight.shape == (18, 4, 3, 3) and np.abs(net[1].weight.grad().asnumpy()).sum() > 0
    np.testing.assert_array_equal(net(x).asnumpy(), first)
    net.export(str(tmp_path / "net"))
    assert "_qnn_convolution" in (tmp_path / "net-symbol.json").read_text()


@pytest.mark.parametrize("options", [
    dict(num_group=1, kernel=(3,), pad=(1,)), dict(kernel=(1, 3, 3)), dict(num_group=2), dict(act_bit=9),
    dict(weight_bit=32), dict(act_bit=32, weight_bit=32), dict(weight_bit=12, act_bit=1)], ids=str)
def test_what_tiles_cannot_take_stays_convolution(options, tiled):
    found = ops(convolution(**options))
    assert "Convolution" in found and "_qnn_convolution" not in found


def test_instruction_sets_without_tiles_take_convolution():
    for name in ISAS:
        before = backend.isa()
        backend.select_isa(name)
        try:
            assert ("_qnn_convolution" in ops(convolution())) == backend.has_fast_training() == (name == "amx")
        finally:
            backend.select_isa(before)


def network():
    """Layers with all kinds of inputs, one of them shared, and with attributes of the user's."""
    with mx.AttrScope(__stage__="first"):
        net = convolution(act_quantizer="isometric(levels=2)", pad=(1, 1), no_bias=False)
    gamma = mx.sym.Variable("gamma", shape=(1,), init=mx.init.Constant(0.7))
    net = convolution(mx.sym.BatchNorm(net, name="bn"), "d", act_quantizer="rebnet(levels=1)", act_gamma=gamma)
    net = convolution(net, "e", act_bit=2, weight_quantizer="twn", attr={"__lr_mult__": "2"})
    return convolution(net, "f", act_bit=32, weight_bit=32, kernel=(1, 1)) + convolution(net, "g", kernel=(1, 1))


@pytest.mark.parametrize("is_saved_with_tiles", [True, False])
def test_saved_graphs_are_composed_anew(is_saved_with_tiles, tiled, tmp_path, monkeypatch):
    def on_this_machine(has_tiles):
        monkeypatch.setattr(backend, "has_fast_training", lambda: has_tiles)
        return network()

    here, saved = on_this_machine(not is_saved_with_tiles), on_this_machine(is_saved_with_tiles)
    monkeypatch.setattr(backend, "has_fast_training", lambda: not is_saved_with_tiles)
    found = qnn.recompose(mx.sym.load_json(saved.tojson()))
    assert ops(found) == ops(here) != ops(saved)
    assert found.list_arguments() == saved.list_arguments() and found.list_outputs() == saved.list_outputs()
    assert found.attr_dict()["e"] == saved.attr_dict()["e"] and found.attr_dict()["c"]["__stage__"] == "first"
    np.testing.assert_array_equal(step(found)[0], step(saved)[0])
    assert ops(qnn.recompose(found)) == ops(found)
    shapes, _, states = saved.infer_shape(data=(2, 37, 7, 9))
    args = {name: mx.nd.ones(shape) for name, shape in zip(saved.list_arguments(), shapes) if name != "data"}
    auxs = {name: mx.nd.ones(shape) for name, shape in zip(saved.list_auxiliary_states(), states)}
    mx.model.save_checkpoint(str(tmp_path / "net"), 3, saved, args, auxs)
    assert ops(qnn.load(str(tmp_path / "net"), 3).symbol) == ops(here)


RUN = """
import sys, qnn, mxnet as mx, numpy as np
symbol, args, auxs = mx.model.load_checkpoint(sys.argv[1], 1)
x = mx.nd.array(np.random.RandomState(0).randn(3, 6, 9, 9))
executor = symbol.bind(mx.cpu(), dict(args, data=x), grad_req="null", aux_states=auxs)
np.save(sys.argv[2], executor.forward()[0].asnumpy())
"""


def test_saved_graphs_run_everywhere(tiled, tmp_path):
    """A graph that was composed here gives the same bits on every instruction set."""
    net = convolution(mx.sym.BatchNorm(convolution(pad=(1, 1), no_bias=False), name="bn"), "d", act_bit=2,
                      weight_bit=2, stride=(2, 2))
    module = mx.mod.Module(net, label_names=None)
    module.bind([("data", (3, 6, 9, 9))], for_training=False)
    module.init_params(mx.init.Uniform(1))
    module.save_checkpoint(str(tmp_path / "net"), 1)
    data = mx.io.DataBatch([mx.nd.array(np.random.RandomState(0).randn(3, 6, 9, 9))])
    module.forward(data, is_train=False)
    others = [name for name in ("popcnt", "avx512", "amx") if name in ISAS]
    for name in others:
        out = str(tmp_path / (name + ".npy"))
        subprocess.run([sys.executable, "-c", RUN, str(tmp_path / "net"), out], check=True, timeout=120,
                       env=dict(os.environ, QNN_ISA=name))
        np.testing.assert_array_equal(np.load(out), module.get_outputs()[0].asnumpy(), name)


def raw(*shape, **attributes):
    data = mx.sym.Variable("data", shape=shape) if shape else mx.sym.Variable("data")
    net = mx.sym._internal._qnn_convolution(data, mx.sym.Variable("w"), **{"no_bias": True, **attributes})
    return net.infer_shape()


@pytest.mark.parametrize("shape, attributes, message", [
    ((2, 3, 4), dict(kernel=(3, 3), num_filter=2), r"data of shape \(N, C, H, W\), got \(2, 3, 4\)"),
    ((2, 3, 4, 4), dict(kernel=(5, 3), num_filter=2), r"does not fit data of shape \(2, 3, 4, 4\): kernel \(5, 3\)"),
    ((2, 3, 4, 4), dict(kernel=(3, 3)), "does not fit"), ((2, 3, 4, 4), dict(kernel=(3,), num_filter=2), "2 sizes"),
    ((2, 4, 4, 4), dict(kernel=(3, 3), num_filter=2, num_group=2), "has one group"),
    ((2, 3, 4, 4), dict(kernel=(3, 3), num_filter=2, layout="NHWC"), "no attribute 'layout'"),
    ((0, 3, 4, 4), dict(kernel=(3, 3), num_filter=2), "needs data without empty or unknown dimensions")])
def test_bad_attributes(shape, attributes, message):
    with pytest.raises(mx.base.MXNetError, match=message):
        raw(*shape, **attributes)


@pytest.mark.parametrize("act_bit", [1, 2])
@pytest.mark.parametrize("rank", [1, 2, 3, 5, 6, 7, 8, 9])
def test_data_of_another_rank(rank, act_bit, tiled):
    """lib_api alone would write behind the end of a buffer, or to address 0."""
    for no_bias in (True, False):
        with pytest.raises(mx.base.MXNetError, match="Error in operator c"):
            convolution(act_bit=act_bit, no_bias=no_bias).infer_shape(data=(3,) * rank)


def test_bad_weights():
    net = mx.sym._internal._qnn_convolution(mx.sym.Variable("data"), mx.sym.Variable("w"), kernel=(3, 3), num_filter=2,
                                            no_bias=True)
    with pytest.raises(mx.base.MXNetError, match=r"weight of shape \(2, 3, 3, 3\), got \(2, 4, 3, 3\)"):
        net.infer_shape(data=(1, 3, 4, 4), w=(2, 4, 3, 3))
    assert net.infer_shape(data=(1, 3, 4, 4), w=(2, 0, 3, 3))[0][1] == (2, 3, 3, 3)
    with pytest.raises(mx.base.MXNetError, match="takes float32 data, got float64"):
        net.infer_type(data=np.float64)
