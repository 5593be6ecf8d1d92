"""Cases of the quantizer tests: every quantizer, data and weights that suit them, and the four ways to run a layer."""
import mxnet as mx
import numpy as np

import qnn
from qnn import quantizers

ACT = ["sign", "sign(clip=0.25)", "sign(clip=inf)", "approx_sign", "swish_sign", "swish_sign(beta=2.0)",
       "dorefa(bits=1)", "dorefa(bits=2)", "dorefa(bits=8)", "dorefa(bits=3, clip=0.5)", "quantized_relu(bits=2)",
       "quantized_relu(bits=4, limit=2.5)", "fixed(bits=2, fraction=0, narrow=True)", "fixed(bits=4, fraction=2)",
       "fixed", "ternary", "ternary(threshold=0.25, clip=0.75)", "identity",
       *("%s(levels=%d)" % (name, levels) for name in ("rebnet", "isometric") for levels in (1, 2, 3, 4)),
       "rebnet(levels=2, gamma=(0.25, 0.75))", "isometric(levels=3, gamma=0.3)"]
WEIGHT = ["sign", "approx_sign", "swish_sign", "deterministic_binary", "stochastic_binary", "dorefa_weight(bits=1)",
          "dorefa_weight(bits=2)", "dorefa_weight(bits=5)", "fixed(bits=4, fraction=2, narrow=True)", "ternary", "twn",
          "twn(delta=0.5)", "ttq", "ttq(threshold=0.25, positive=0.75, negative=1.5)", "rebnet(levels=1)",
          "rebnet(levels=3)", "isometric(levels=2)", "identity"]
MODES = ["sym", "nd", "gluon", "gluon_hybrid"]
SPECIAL = np.float32([0, -0.0, 1e-45, -1e-45, 0.5, -0.5, 1, -1, 0.25, -0.25, 2, -2, 127 / 128, 3e38, -3e38])


def initial(quantizer):
    """Initial values of a quantizer's parameters, as float32 arrays."""
    return [np.float32(values) for _, _, values in quantizers.get(quantizer).parameters]


def data(*shape, seed=0):
    """Normal numbers, the first of them replaced by edges of all kinds."""
    x = np.random.RandomState(seed).randn(*shape).astype(np.float32)
    count = min(len(SPECIAL) - 2, x.size)  # without the huge ones: sums of float layers shall stay finite
    x.flat[:count] = SPECIAL[:count]
    return x


def weights(*shape, seed=1):
    """Odd multiples of 1/128 up to +-63/64: their sums are exact in float32, whatever the order; off the edges of
    dorefa_weight(bits=2) and (bits=5) by far more than an ulp of tanh (seed 1)."""
    numbers = np.random.RandomState(seed).randint(-63, 63, shape)
    return ((2 * numbers + 1) / 128).astype(np.float32)


def arrays_of(side, quantizer, values=None):
    """{"act_gamma": NDArray, ...}: the initial values, or those given, of a quantizer's parameters."""
    values = initial(quantizer) if values is None else values
    return {"%s_%s" % (side, role): mx.nd.array(value)
            for (role, _, _), value in zip(quantizers.get(quantizer).parameters, values)}


def run_layer(mode, op, x, w, bias=None, head=None, **options):
    """Output of QConvolution or QFullyConnected in one of MODES, with initial parameters; with `head`, (output,
    {"data": gradient, "weight": gradient, "act_gamma": ...}) of a training step."""
    act, weight = options["act_quantizer"], options["weight_quantizer"]
    params = {**arrays_of("act", act), **arrays_of("weight", weight)}
    arrays = {"data": mx.nd.array(x), "weight": mx.nd.array(w), **params}
    if bias is not None:
        arrays["bias"] = mx.nd.array(bias)
    return {"sym": _symbol, "nd": _ndarray, "gluon": _gluon, "gluon_hybrid": _gluon}[mode](
        op, arrays, head, dict(options, no_bias=bias is None), mode == "gluon_hybrid")


def _symbol(op, arrays, head, options, _):
    symbol = getattr(qnn.sym, op)(mx.sym.Variable("data"), name="layer", **options)
    args = {("data" if key == "data" else "layer_" + key): value for key, value in arrays.items()}
    shapes, outs, _ = symbol.infer_shape(data=arrays["data"].shape)
    assert dict(zip(symbol.list_arguments(), shapes)) == {key: value.shape for key, value in args.items()}
    executor = symbol.simple_bind(mx.cpu(), grad_req="null" if head is None else "write", data=arrays["data"].shape)
    executor.copy_params_from(args)
    out = executor.forward(is_train=head is not None)[0]
    assert out.shape == outs[0]
    if head is None:
        return out.asnumpy()
    executor.backward(mx.nd.array(head))
    return out.asnumpy(), {key.replace("layer_", "", 1): grad.asnumpy() for key, grad in executor.grad_dict.items()}


def _ndarray(op, arrays, head, options, _):
    if head is None:
        return getattr(qnn.nd, op)(**arrays, **options).asnumpy()
    for array in arrays.values():
        array.attach_grad()
    with mx.autograd.record():
        out = getattr(qnn.nd, op)(**arrays, **options)
    out.backward(mx.nd.array(head))
    return out.asnumpy(), {key: array.grad.asnumpy() for key, array in arrays.items()}


def _gluon(op, arrays, head, options, is_hybrid):
    renamed = dict(num_filter="channels", kernel="kernel_size", stride="strides", pad="padding", dilate="dilation",
                   num_group="groups", num_hidden="units")
    options = {renamed.get(key, key): value for key, value in options.items()}
    kind = qnn.gluon.QConv2D if op == "QConvolution" else qnn.gluon.QDense
    block = kind(use_bias=not options.pop("no_bias"), **options)
    block.initialize()
    x = arrays["data"]
    if is_hybrid:
        block.hybridize()
    block(x)
    block.weight.set_data(arrays["weight"])
    if "bias" in arrays:
        block.bias.set_data(arrays["bias"])
    if head is None:
        return block(x).asnumpy()
    x.attach_grad()
    with mx.autograd.record():
        out = block(x)
    out.backward(mx.nd.array(head))
    grads = {key: getattr(block, key).grad().asnumpy() for key in arrays if key != "data"}
    return out.asnumpy(), {"data": x.grad.asnumpy(), **grads}
