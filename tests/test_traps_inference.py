"""Traps of MXNet 1.9.1 in inference: CachedOp wants gradients, MXNet and oneDNN rewrite graphs that have none."""
import subprocess
import sys

import mxnet as mx
import numpy as np
import pytest

import qnn
from qnn import reference
from qnn.graph import Graph, Node

native = pytest.mark.skipif(not qnn.backend.is_native, reason="qnn._native is not built")


@pytest.mark.parametrize("hybridize", [False, True, "static"])
@pytest.mark.parametrize("is_fused", [False, True])
@native
def test_packed_operators_run_inside_cached_op(tmp_path, hybridize, is_fused):
    """CachedOp wants a gradient of every operator, even for inference; asking for it is an error with a reason."""
    rng = np.random.RandomState(0)
    net = qnn.sym.QConvolution(mx.sym.Variable("data"), kernel=(3, 3), num_filter=4, pad=(1, 1), name="conv")
    net = qnn.sym.QFullyConnected(net, num_hidden=3, name="fc")
    args = {"conv_weight": mx.nd.array(rng.randn(4, 5, 3, 3)), "fc_weight": mx.nd.array(rng.randn(3, 64))}
    x = rng.randn(2, 5, 4, 4).astype(np.float32)
    packed, packed_args, packed_auxs, _ = qnn.convert(net, args, is_fused=is_fused)
    mx.model.save_checkpoint(str(tmp_path / "packed"), 1, packed, packed_args, packed_auxs)
    packed = [str(tmp_path / name) for name in ("packed-symbol.json", "packed-0001.params")]
    block = mx.gluon.SymbolBlock.imports(packed[0], ["data"], packed[1])
    operator = "_qnn_float_convolution" if is_fused else "_qnn_packed_convolution"
    assert operator in (tmp_path / "packed-symbol.json").read_text()
    if hybridize:
        block.hybridize(static_alloc=hybridize == "static", static_shape=hybridize == "static")
    hidden = reference.q_convolution(x, args["conv_weight"].asnumpy(), pad=(1, 1))
    expected = reference.q_fully_connected(hidden.reshape(2, -1), args["fc_weight"].asnumpy())
    for _ in range(2):
        np.testing.assert_array_equal(block(mx.nd.array(x)).asnumpy(), expected)
    data = mx.nd.array(x)
    data.attach_grad()
    with pytest.raises(mx.MXNetError, match="a packed layer has no gradient"):
        with mx.autograd.record():
            out = block(data)
        out.backward()
        mx.nd.waitall()


@pytest.mark.parametrize("bias,scaling", [(False, "none"), (True, "none"), (False, "filter"), (True, "layer")])
@pytest.mark.parametrize("num_filter", [16, 64, 20])
def test_batch_norm_behind_a_layer_is_a_function_of_the_integers(num_filter, bias, scaling):
    """Without gradients MXNet merges Convolution and BatchNorm, and oneDNN rounds differently on its blocked layout;
    both would change the last bit, and with it classes and folded thresholds."""
    rng = np.random.RandomState(0)
    net = qnn.sym.QConvolution(mx.sym.Variable("data"), kernel=(3, 3), num_filter=num_filter, pad=(1, 1),
                               no_bias=not bias, scaling=scaling, name="conv")
    net = mx.sym.BatchNorm(net, fix_gamma=False, name="bn", eps=1e-3)
    shapes, _, aux_shapes = net.infer_shape(data=(2, 16, 9, 9))
    args = {name: rng.randn(*shape).astype(np.float32) for name, shape in zip(net.list_arguments(), shapes)}
    auxs = {name: np.abs(rng.randn(*shape)).astype(np.float32) + 50
            for name, shape in zip(net.list_auxiliary_states(), aux_shapes)}
    outputs = []
    for symbol, grad_req in ((net, "null"), (net, "write"), (net.get_internals()["conv_output"], "null")):
        executor = symbol.simple_bind(mx.cpu(), grad_req=grad_req, data=(2, 16, 9, 9))
        executor.copy_params_from({k: mx.nd.array(v) for k, v in args.items() if k in executor.arg_dict},
                                  {k: mx.nd.array(v) for k, v in auxs.items() if k in executor.aux_dict})
        outputs.append(executor.forward(is_train=False)[0].asnumpy())
    accum = mx.nd.array(outputs[2])
    statistics = [{**args, **auxs}["bn_" + name] for name in ("gamma", "beta", "moving_mean", "moving_var")]
    normed = mx.nd.BatchNorm(accum, *map(mx.nd.array, statistics), fix_gamma=False, eps=1e-3)
    if scaling == "none":
        np.testing.assert_array_equal(outputs[2], reference.q_convolution(
            args["data"], args["conv_weight"], args.get("conv_bias"), pad=(1, 1)))
    np.testing.assert_array_equal(outputs[0], outputs[1])
    np.testing.assert_array_equal(outputs[0], normed.asnumpy())


@pytest.mark.parametrize("bits", [1, 2])
def test_inference_binding_equals_training_binding_behind_relu_and_pooling(bits):
    """Other fusions of MXNet: sum, ReLU, pooling behind a layer; with and without gradients, bit for bit (1 bit)."""
    rng = np.random.RandomState(0)
    options = dict(kernel=(3, 3), num_filter=16, pad=(1, 1), act_bit=bits, weight_bit=bits)
    data = mx.sym.Variable("data")
    branch = mx.sym.Activation(qnn.sym.QConvolution(data, name="conv1", **options) - 70, act_type="relu")
    net = qnn.sym.QConvolution(branch, name="conv2", **options) + qnn.sym.QConvolution(data, name="conv3", **options)
    net = mx.sym.Pooling(mx.sym.Activation(net - 130, act_type="relu"), kernel=(2, 2), pool_type="max")
    outputs = []
    arrays = {name: rng.rand(*shape) - 0.3
              for name, shape in zip(net.list_arguments(), net.infer_shape(data=(2, 16, 6, 6))[0])}
    for grad_req in ("null", "write"):
        executor = net.simple_bind(mx.cpu(), grad_req=grad_req, data=(2, 16, 6, 6))
        for name, array in arrays.items():
            executor.arg_dict[name][:] = mx.nd.array(array)
        outputs.append(executor.forward(is_train=False)[0].asnumpy())
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=0 if bits == 1 else 1e-5, atol=0 if bits == 1 else 1e-4)
    assert bits != 1 or outputs[0].max() > 0


def test_without_the_library_a_saved_graph_says_what_is_missing():
    net = qnn.sym.QActivation(mx.sym.Variable("data"), name="act").tojson()
    code = "import os, sys; sys.argv[0] = 'qnn'\nimport qnn.compat as c; mx = c.import_mxnet()\n" \
           "try: mx.sym.load_json(%r)\nexcept mx.MXNetError as error: print(str(error))" % net
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and ("_qnn_sign is not registered" in done.stdout or not qnn.backend.is_native), done


@native
@pytest.mark.parametrize("op, attrs, num_in", [
    ("_qnn_sign", {}, 1), ("_qnn_packed_convolution", {"kernel": "(1, 1)", "num_filter": "8"}, 2),
    ("_qnn_packed_fully_connected", {"num_hidden": "8", "has_bias": "True"}, 3),
    ("_qnn_pack", {"has_threshold": "True"}, 3),
    ("_qnn_bits_convolution", {"kernel": "(1, 1)", "num_filter": "8", "channels": "3"}, 4),
    ("_qnn_float_convolution", {"kernel": "(1, 1)", "num_filter": "8", "channels": "3", "has_mean": "True"}, 3),
    ("_qnn_bits_max_pool", {"kernel": "(2, 2)", "has_flip": "True"}, 2)])
@pytest.mark.parametrize("surplus", [-1, 1])
def test_a_graph_file_with_another_number_of_inputs_is_refused(op, attrs, num_in, surplus):
    """MXNet does not compare; reading past the end would crash the process."""
    variables = [Node("null", "v%d" % i) for i in range(num_in + surplus)]
    symbol = mx.sym.load_json(Graph([(Node(op, "x", attrs, [(v, 0) for v in variables]), 0)]).to_json())
    with pytest.raises(mx.MXNetError, match="has %d inputs, got %d" % (num_in, num_in + surplus)):
        symbol.infer_type(**{"v%d" % i: "float32" for i in range(num_in + surplus)})
