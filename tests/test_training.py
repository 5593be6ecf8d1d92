"""Training with MXNet's own tools: Module.fit, checkpoints, devices, bucketing, threads, data loader workers."""
import os
import subprocess
import sys
import threading

import mxnet as mx
import numpy as np
import pytest

import qnn

SHAPE = (1, 8, 8)
WITHOUT_TILES = [row["name"] for row in qnn.backend.isa_table() if row["is_usable"] and row["name"] != "amx"][-1]


def _data(count=128, seed=0):
    """Four classes that differ in which quarter of the image is bright."""
    rng = np.random.RandomState(seed)
    labels = rng.randint(0, 4, count)
    images = rng.randn(count, *SHAPE).astype(np.float32) * 0.3
    for image, label in zip(images, labels):
        image[0, 4 * (label // 2):, 4 * (label % 2):] += 1
    return images, labels.astype(np.float32)


def _network(scaling="none", bits=1):
    """As BMXNet's LeNet: float, binary with the activation in front, float."""
    net = mx.sym.Convolution(mx.sym.Variable("data"), kernel=(3, 3), num_filter=8, name="conv0")
    net = mx.sym.BatchNorm(net, fix_gamma=False, name="bn0")
    net = mx.sym.QActivation(net, act_bit=bits, backward_only=bits == 1, name="qact1")
    net = mx.sym.QConvolution(net, kernel=(3, 3), num_filter=16, pad=(1, 1), act_bit=bits, weight_bit=bits,
                              scaling=scaling, name="conv1")
    net = mx.sym.BatchNorm(net, fix_gamma=False, name="bn1")
    net = mx.sym.Pooling(net, kernel=(2, 2), stride=(2, 2), pool_type="max")
    net = mx.sym.QFullyConnected(net, num_hidden=24, no_bias=False, act_bit=bits, weight_bit=bits, name="fc1")
    net = mx.sym.FullyConnected(mx.sym.BatchNorm(net, fix_gamma=False, name="bn2"), num_hidden=4, name="fc2")
    return mx.sym.SoftmaxOutput(net, name="softmax")


def _fit(net, epochs=4, context=None, kvstore="local", optimizer="adam", **options):
    np.random.seed(0)
    mx.random.seed(0)
    images, labels = _data()
    module = mx.mod.Module(net, context=context or mx.cpu())
    iterator = mx.io.NDArrayIter(images, labels, 32, label_name="softmax_label")
    module.fit(iterator, num_epoch=epochs, optimizer=optimizer, optimizer_params=dict(learning_rate=0.01),
               initializer=mx.init.Xavier(), kvstore=kvstore, eval_metric="ce", **options)
    return module


def _score(module):
    images, labels = _data(seed=1)
    return module.score(mx.io.NDArrayIter(images, labels, 32, label_name="softmax_label"), "acc")[0][1]


@pytest.mark.parametrize("scaling,bits", [("none", 1), ("filter", 1), ("none", 2), ("none", 32)])
def test_module_fit_learns(scaling, bits):
    losses = []
    module = _fit(_network(scaling, bits), epochs=10,
                  batch_end_callback=lambda p: losses.append(p.eval_metric.get()[1]))
    assert losses[-1] < 0.5 * losses[0], losses
    assert _score(module) > 0.9


@pytest.fixture
def without_tiles():
    """Tiles sum gradients in another order than Convolution."""
    before = qnn.backend.isa()
    qnn.backend.select_isa(WITHOUT_TILES)
    yield
    qnn.backend.select_isa(before)


def test_module_fit_with_builtin_operators_takes_the_same_steps(without_tiles):
    """The same numbers in every layer: after two epochs the parameters still agree to the last bit."""
    params = []
    for is_builtin in (False, True):
        with qnn.builtin_operators(is_builtin):
            params.append(_fit(_network(), epochs=2).get_params()[0])
    for name, value in params[0].items():
        np.testing.assert_array_equal(value.asnumpy(), params[1][name].asnumpy(), name)


def test_module_fit_takes_the_same_steps_again():
    params = [_fit(_network(), epochs=2).get_params()[0] for _ in range(2)]
    for name, value in params[0].items():
        np.testing.assert_array_equal(value.asnumpy(), params[1][name].asnumpy(), name)


def test_forward_leaves_latent_weights_alone():
    net = _network()
    module = mx.mod.Module(net)
    module.bind([("data", (4,) + SHAPE)], [("softmax_label", (4,))])
    module.init_params(mx.init.Uniform(0.5))
    before = {name: value.asnumpy() for name, value in module.get_params()[0].items()}
    images, labels = _data(4)
    for is_train in (True, False):
        module.forward(mx.io.DataBatch([mx.nd.array(images)], [mx.nd.array(labels)]), is_train=is_train)
    mx.nd.waitall()
    arrays = module._exec_group.execs[0].arg_dict
    for name, value in before.items():
        np.testing.assert_array_equal(arrays[name].asnumpy(), value, name)


def test_checkpoint_round_trip(tmp_path):
    """save_checkpoint drops amp_cast from the symbol by default; nothing of ours goes with it."""
    module = _fit(_network(), epochs=1)
    prefix = str(tmp_path / "net")
    module.save_checkpoint(prefix, 1)
    images = mx.nd.array(_data(5, seed=1)[0])
    trained, loaded = mx.mod.Module(_network()), mx.mod.Module.load(prefix, 1)
    symbol, args, auxs = mx.model.load_checkpoint(prefix, 1)
    assert set(args) == set(module.get_params()[0]) and "__qnn_op__" in symbol.attr_dict()["conv1"]
    assert len(np.unique(args["conv1_weight"].asnumpy())) > 100  # latent, not signs
    outputs = []
    for each in (trained, loaded):
        each.bind([("data", images.shape)], for_training=False)
        if each is trained:
            each.set_params(*module.get_params())
        each.forward(mx.io.DataBatch([images]), is_train=False)
        outputs.append(each.get_outputs()[0].asnumpy())
    np.testing.assert_array_equal(outputs[0], outputs[1])


def test_training_goes_on_from_a_checkpoint(tmp_path):
    prefix = str(tmp_path / "net")
    first = _fit(_network(), epochs=2, epoch_end_callback=mx.callback.do_checkpoint(prefix))
    symbol, args, auxs = mx.model.load_checkpoint(prefix, 2)
    second = _fit(symbol, epochs=4, arg_params=args, aux_params=auxs, begin_epoch=2)
    before, after = first.get_params()[0]["conv1_weight"].asnumpy(), second.get_params()[0]["conv1_weight"].asnumpy()
    assert 0 < np.abs(before - after).max() < 0.5


@pytest.mark.parametrize("kvstore", ["local", "device"])
def test_two_devices_train_like_one(kvstore):
    """BatchNorm sees each device's half, so the network here has none; sgd keeps sums comparable."""
    net = qnn.sym.QConvolution(mx.sym.Variable("data"), kernel=(3, 3), num_filter=8, no_offset=True, name="conv1")
    net = qnn.sym.QFullyConnected(net * 0.05, num_hidden=4, no_offset=True, no_bias=False, scaling="filter", name="fc1")
    net = mx.sym.SoftmaxOutput(net, name="softmax")
    one, two = (_fit(net, 2, context, kvstore, "sgd").get_params()[0]
                for context in (mx.cpu(), [mx.cpu(0), mx.cpu(1)]))
    for name, value in one.items():  # two partial sums instead of one: a few float32 roundings per step
        np.testing.assert_allclose(value.asnumpy(), two[name].asnumpy(), rtol=1e-4, atol=1e-6, err_msg=name)


def test_simple_bind_reshape_to_another_batch():
    net = _network()
    executor = net.simple_bind(mx.cpu(), grad_req="null", data=(4,) + SHAPE)
    rng = np.random.RandomState(0)
    for name in sorted(executor.arg_dict):
        executor.arg_dict[name][:] = mx.nd.array(rng.randn(*executor.arg_dict[name].shape))
    images = executor.arg_dict["data"].asnumpy()
    full = executor.forward()[0].asnumpy()
    part = executor.reshape(data=(2,) + SHAPE, allow_up_sizing=False, partial_shaping=True)
    part.arg_dict["data"][:] = mx.nd.array(images[:2])
    np.testing.assert_allclose(part.forward()[0].asnumpy(), full[:2], rtol=1e-5, atol=1e-7)


def test_bucketing_shares_weights_between_lengths():
    """Two graphs over one set of parameters; QFullyConnected with flatten=False takes any length."""
    def generate(length):
        net = qnn.sym.QFullyConnected(mx.sym.Variable("data"), num_hidden=6, flatten=False, name="fc1")
        net = mx.sym.FullyConnected(mx.sym.mean(net, axis=1), num_hidden=2, name="fc2")
        return mx.sym.SoftmaxOutput(net, name="softmax"), ("data",), ("softmax_label",)

    module = mx.mod.BucketingModule(generate, default_bucket_key=7)
    module.bind([("data", (3, 7, 5))], [("softmax_label", (3,))])
    module.init_params()
    module.init_optimizer(optimizer_params=dict(learning_rate=0.1))
    rng = np.random.RandomState(0)
    for length in (7, 4, 7):
        batch = mx.io.DataBatch([mx.nd.array(rng.randn(3, length, 5))], [mx.nd.zeros((3,))], bucket_key=length,
                                provide_data=[("data", (3, length, 5))], provide_label=[("softmax_label", (3,))])
        module.forward_backward(batch)
        module.update()
        assert module.get_outputs()[0].shape == (3, 2)


def test_prediction_from_several_threads():
    """Each thread with an executor of its own, as MXNet wants it."""
    net = _network()
    rng = np.random.RandomState(0)
    shapes = dict(zip(net.list_arguments(), net.infer_shape(data=(4,) + SHAPE)[0]))
    arrays = {name: rng.randn(*shape).astype(np.float32) for name, shape in shapes.items()}
    results = {}

    def predict(number):
        executor = net.simple_bind(mx.cpu(), grad_req="null", data=(4,) + SHAPE)
        for name, array in arrays.items():
            executor.arg_dict[name][:] = mx.nd.array(array)
        results[number] = [executor.forward(is_train=False)[0].asnumpy() for _ in range(5)]

    predict("alone")
    threads = [threading.Thread(target=predict, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(results) == 5
    for outputs in results.values():
        for output in outputs:
            np.testing.assert_array_equal(output, results["alone"][0])


# ---- in processes of their own ---------------------------------------------------------------------------------------

STEP = """
import qnn, mxnet as mx, numpy as np
rng = np.random.RandomState(0)
net = qnn.sym.QActivation(mx.sym.Variable("data"))
net = qnn.sym.QConvolution(net, kernel=(3, 3), num_filter=4, pad=(1, 1), name="c")
net = qnn.sym.QFullyConnected(mx.sym.BatchNorm(net), num_hidden=3, no_bias=False, name="f")
executor = net.simple_bind(mx.cpu(), data=(2, 3, 5, 5))
for name in sorted(executor.arg_dict):
    executor.arg_dict[name][:] = mx.nd.array(rng.randn(*executor.arg_dict[name].shape))
out = executor.forward(is_train=True)[0]
executor.backward(mx.nd.ones(out.shape))
print(out.asnumpy().tolist(), executor.grad_dict["c_weight"].asnumpy().ravel()[:9].tolist())
"""
LOADER = """
import qnn, mxnet as mx, numpy as np
qnn.nd.QActivation(mx.nd.ones((4, 100000))).wait_to_read()   # OpenMP threads exist before the fork
x = np.random.RandomState(0).randn(24, 3, 6, 6).astype("float32")
loader = mx.gluon.data.DataLoader(mx.gluon.data.ArrayDataset(x, np.arange(24.0)), 8, num_workers=2)
net = qnn.gluon.QConv2D(4, 3)
net.initialize()
for epoch in range(2):
    print(sum(len(net(batch).asnumpy()) for batch, _ in loader))
"""


def _run(code, timeout=120, **environment):
    """Standard output of a Python program that runs beside this one."""
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True,
                          text=True, timeout=timeout)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_naive_engine_and_builtin_operators_give_the_same_numbers():
    expected = _run(STEP)
    assert _run(STEP, MXNET_ENGINE_TYPE="NaiveEngine") == expected
    assert _run(STEP, QNN_OPERATORS="builtin") == _run(STEP, QNN_ISA=WITHOUT_TILES)


def test_data_loader_workers_do_not_hang():
    assert _run(LOADER).split() == ["24", "24"]
