"""Table layers in MXNet: symbols, arrays and blocks compute reference_lut.py; states are saved and never trained."""
import mxnet as mx
import numpy as np
import pytest

import qnn
from qnn import reference_lut
from qnn.graph import Graph
from qnn.lut import layers, tables
from qnn.options import OptionError

MODES = {"smooth": dict(), "hard": dict(smooth=False), "real": dict(binary=False)}


def values(symbol, shape, seed=0):
    """An executor whose weights are random, and whose states are those of their initializers."""
    executor = symbol.simple_bind(mx.cpu(), data=shape, grad_req="write")
    random = np.random.RandomState(seed)
    for array in executor.arg_dict.values():
        array[:] = random.rand(*array.shape)
    attrs = symbol.attr_dict()
    for name, array in executor.aux_dict.items():
        mx.init.Uniform(0)(mx.init.InitDesc(name, attrs.get(name)), array)
    return executor, random


@pytest.mark.parametrize("mode", sorted(MODES))
@pytest.mark.parametrize("n", [2, 6])
def test_symbol_trains_and_infers_like_the_reference(n, mode):
    net = qnn.sym.DifferentiableLut(mx.sym.Variable("data"), num_nodes=11, in_units=13, n=n, momentum=0.75, name="lut",
                                    **MODES[mode])
    assert net.list_arguments() == ["data", "lut_weight"]
    assert net.list_auxiliary_states() == ["lut_connections", "lut_moving_mean", "lut_moving_var"]
    executor, random = values(net, (70, 13))
    x, weight = executor.arg_dict["data"].asnumpy(), executor.arg_dict["lut_weight"].asnumpy()
    wired = executor.aux_dict["lut_connections"].asnumpy().astype(int)
    options = dict(mode=mode, binarize=mode != "real")
    y = executor.forward(is_train=True)[0].asnumpy()
    np.testing.assert_allclose(y, reference_lut.lut_forward(x, wired, weight, **options), atol=1e-5)
    y1 = reference_lut.multilinear(reference_lut.lut_input(x, mode)[:, wired], weight[None])
    mean, var = reference_lut.lut_statistics(y1)
    moving = executor.aux_dict["lut_moving_mean"].asnumpy(), executor.aux_dict["lut_moving_var"].asnumpy()
    np.testing.assert_allclose(moving[0], reference_lut.moving(0, mean, 0.75), atol=1e-6)
    np.testing.assert_allclose(moving[1], reference_lut.moving(1, var, 0.75), atol=1e-6)
    dy = random.randn(70, 11).astype(np.float32)
    executor.backward(mx.nd.array(dy))
    dx, dweight = reference_lut.lut_backward(x, wired, weight, dy, mode)
    np.testing.assert_allclose(executor.grad_dict["data"].asnumpy(), dx, atol=2e-5)
    np.testing.assert_allclose(executor.grad_dict["lut_weight"].asnumpy(), dweight, atol=2e-5)
    y = executor.forward(is_train=False)[0].asnumpy()
    fixed = dict(options, mean=moving[0], var=moving[1])
    np.testing.assert_array_equal(y, reference_lut.lut_forward(x, wired, weight, **fixed))
    np.testing.assert_array_equal(executor.aux_dict["lut_moving_mean"].asnumpy(), moving[0])  # inference leaves them


@pytest.mark.parametrize("mode", sorted(MODES))
def test_stochastic_lut_has_the_numeric_gradient(mode):
    """Without binarization and BatchNorm, in every input between the levels: dW is linear, dx where x is real."""
    options = dict(MODES[mode]) if mode == "real" else dict(MODES[mode], binary=True)
    net = qnn.sym.StochasticLut(mx.sym.Variable("data"), num_nodes=3, in_units=7, n=4, lut_binarize=False, name="lut",
                                **options)
    random = np.random.RandomState(1)
    location = {"data": random.rand(5, 7) * 0.8 + 0.1, "lut_weight": random.rand(3, 16) * 0.8 + 0.1}
    wired = np.stack([random.permutation(7)[:4] for _ in range(3)]).astype(np.float32)
    nodes = ["data", "lut_weight"] if mode == "real" else ["lut_weight"]
    mx.test_utils.check_numeric_gradient(net, location, {"lut_connections": wired}, grad_nodes=nodes, rtol=0.02,
                                         atol=2e-3, numeric_eps=1e-2, dtype=np.float32)


def test_arrays_and_blocks_equal_symbols():
    options = dict(num_nodes=9, in_units=12, n=3, seed=5)
    net = qnn.sym.DifferentiableLut(mx.sym.Variable("data"), name="lut", **options)
    executor, random = values(net, (40, 12))
    y = executor.forward(is_train=True)[0].asnumpy()
    head = mx.nd.array(random.randn(*y.shape))
    executor.backward(head)
    states = {name: array.asnumpy() for name, array in executor.aux_dict.items()}
    inferred = executor.forward(is_train=False)[0].asnumpy()
    block = qnn.gluon.DifferentiableLut(**options)
    for is_hybrid in (False, True):
        block.initialize(force_reinit=True)
        block.hybridize(is_hybrid)
        x = executor.arg_dict["data"].copy()
        x.attach_grad()
        block.weight.set_data(executor.arg_dict["lut_weight"])
        with mx.autograd.record():
            out = block(x)
        out.backward(head)
        np.testing.assert_array_equal(out.asnumpy(), y)
        np.testing.assert_array_equal(x.grad.asnumpy(), executor.grad_dict["data"].asnumpy())
        np.testing.assert_array_equal(block.weight.grad().asnumpy(), executor.grad_dict["lut_weight"].asnumpy())
        for role in ("moving_mean", "moving_var", "connections"):
            np.testing.assert_array_equal(getattr(block, role).data().asnumpy(), states["lut_" + role])
        np.testing.assert_array_equal(block(x).asnumpy(), inferred)


def test_gradients_add_up():
    x = mx.sym.Variable("data")
    weight = mx.sym.Variable("w", shape=(4, 8))
    parts = [qnn.sym.StochasticLut(x, weight=weight, num_nodes=4, in_units=5, n=3, seed=7, name="lut%d" % i)
             for i in range(12)]  # more than MXNET_EXEC_INPLACE_GRAD_SUM_CAP
    net = mx.sym.add_n(*parts)
    executor, _ = values(net, (6, 5))
    single, _ = values(parts[0], (6, 5))
    for name in ("data", "w"):
        single.arg_dict[name][:] = executor.arg_dict[name]
    for each in (executor, single):
        each.forward(is_train=True)
        each.backward(mx.nd.ones((6, 4)))
    for name in ("data", "w"):
        np.testing.assert_allclose(executor.grad_dict[name].asnumpy(), 12 * single.grad_dict[name].asnumpy(), rtol=1e-5)


def network(seed=0):
    mx.random.seed(seed)
    net = qnn.sym.RealToBinary(mx.sym.Variable("data"), frame_modulation=3, name="r2b")
    net = qnn.sym.DifferentiableLut(net, num_nodes=40, in_units=16, n=4, name="lut1")
    net = qnn.sym.DifferentiableLut(net, num_nodes=8, in_units=40, n=6, name="lut2")
    return mx.sym.SoftmaxOutput(qnn.sym.BinaryToReal(net, frame_integration=3, name="b2r"), name="softmax")


def fit(net, epochs=12, optimizer="lutadam"):
    random = np.random.RandomState(0)
    x = random.rand(512, 16).astype(np.float32)
    y = (x[:, :8] + 0.3 * x[:, 8:]).argmax(1)
    batches = mx.io.NDArrayIter(x, y.astype(np.float32), 64)
    module = mx.mod.Module(net)
    module.fit(batches, num_epoch=epochs, optimizer=optimizer, optimizer_params={"learning_rate": 0.02},
               eval_metric="acc", kvstore=None)
    return module, dict(module.score(batches, "acc"))["accuracy"], x


def test_module_trains_saves_and_loads(tmp_path):
    module, accuracy, x = fit(network())
    assert accuracy > 0.35  # chance: 1/8
    args, auxs = module.get_params()
    assert 0 <= args["lut1_weight"].asnumpy().min() and args["lut1_weight"].asnumpy().max() <= 1
    module.save_checkpoint(str(tmp_path / "net"), 1)
    symbol, loaded_args, loaded_auxs = mx.model.load_checkpoint(str(tmp_path / "net"), 1)
    assert sorted(loaded_auxs) == sorted(auxs) and "lut1_connections" in auxs and "r2b_thresholds" in auxs
    again = mx.mod.Module(symbol)
    again.bind([("data", (64, 16))], for_training=False)
    again.set_params(loaded_args, loaded_auxs)
    batches = mx.io.NDArrayIter(x, batch_size=64)
    np.testing.assert_array_equal(again.predict(batches).asnumpy(), module.predict(batches).asnumpy())


def test_layers_of_one_shape_differ():
    """BinaryBrain's default seed gives all layers one wiring and one table."""
    net = mx.sym.Variable("data")
    for name in ("a", "b"):
        net = qnn.sym.DifferentiableLut(net, num_nodes=16, in_units=16, name=name)
    module = mx.mod.Module(net, label_names=())
    module.bind([("data", (4, 16))])
    module.init_params()
    args, auxs = module.get_params()
    assert (args["a_weight"].asnumpy() != args["b_weight"].asnumpy()).any()
    assert (auxs["a_connections"].asnumpy() != auxs["b_connections"].asnumpy()).any()
    first, second = (qnn.gluon.DifferentiableLut(num_nodes=16, in_units=16) for _ in range(2))
    first.initialize(), second.initialize()
    assert (first.connections.data().asnumpy() != second.connections.data().asnumpy()).any()


@pytest.mark.parametrize("kind", ["DifferentiableLut", "StochasticLut", "MicroMlp"])
@pytest.mark.parametrize("n", [2, 5])
def test_extracted_tables_are_the_network(kind, n):
    options = dict(smooth=True) if kind != "MicroMlp" else {}
    net = getattr(qnn.sym, kind)(mx.sym.Variable("data"), num_nodes=50, in_units=20, n=n, name="lut", **options,
                                 **(dict(binary=True, binarize=True) if kind == "StochasticLut" else {}))
    executor, random = values(net, (2000, 20))
    for name, array in executor.arg_dict.items():
        if name != "data":
            array[:] = random.randn(*array.shape)
    for _ in range(100):  # waiting, as MXNet reads is_train when an operator runs, not when it is called
        executor.forward(is_train=True)[0].wait_to_read()
    y = executor.forward(is_train=False)[0].asnumpy()
    node, = tables.table_layers(Graph.from_json(net.tojson()))
    params = {**executor.arg_dict, **executor.aux_dict}
    if kind == "MicroMlp":
        inner = net.get_internals()
        table = inner[[name for name in inner.list_outputs() if "broadcast_add" in name][-1]]
        used = {name: params[name] for name in table.list_arguments()}
        params["lut_computed"] = table.bind(mx.cpu(), used).forward()[0]
    wired = tables.wiring_of(node, params)
    got = reference_lut.table_forward(executor.arg_dict["data"].asnumpy(), wired, tables.tables_of(node, params))
    np.testing.assert_array_equal(got, y)
    assert 0.1 < y.mean() < 0.9


def test_learned_connections_harden_to_the_same_numbers():
    net = qnn.sym.DifferentiableLut(mx.sym.Variable("data"), num_nodes=10, in_units=30, connection="learned",
                                    name="lut")
    net = qnn.sym.DifferentiableLut(net, num_nodes=4, in_units=10, name="out")
    executor, random = values(net, (50, 30))
    executor.forward(is_train=True)
    executor.backward(mx.nd.array(random.randn(50, 4)))
    x, scores = executor.arg_dict["data"].asnumpy(), executor.arg_dict["lut_scores"].asnumpy()
    assert np.abs(executor.grad_dict["lut_scores"].asnumpy()).sum(1).min() > 0
    y = executor.forward(is_train=False)[0].asnumpy()
    args = {k: v for k, v in executor.arg_dict.items() if k != "data"}
    symbol, args, auxs = qnn.lut.harden(net, args, executor.aux_dict)
    assert "lut_scores" not in symbol.list_arguments() and "lut_scores" not in args
    np.testing.assert_array_equal(auxs["lut_connections"].asnumpy(), scores.argmax(1).reshape(10, 6))
    hard = symbol.bind(mx.cpu(), {**args, "data": mx.nd.array(x)}, aux_states=auxs)
    np.testing.assert_array_equal(hard.forward(is_train=False)[0].asnumpy(), y)


def test_learned_selection_is_straight_through():
    options = dict(num_nodes=3, in_units=8, n=2, batch_norm=False, binary=False, binarize=False, lut_binarize=False)
    net = qnn.sym.StochasticLut(mx.sym.Variable("data"), connection="learned", name="lut", **options)
    executor, random = values(net, (20, 8))
    executor.forward(is_train=True)
    dy = random.randn(20, 3).astype(np.float32)
    executor.backward(mx.nd.array(dy))
    x, scores = executor.arg_dict["data"].asnumpy(), executor.arg_dict["lut_scores"].asnumpy()
    chosen = scores.argmax(1)
    selected, _ = reference_lut.lut_backward(x[:, chosen], np.arange(6).reshape(3, 2),
                                             executor.arg_dict["lut_weight"].asnumpy(), dy, "real", batch_norm=False)
    np.testing.assert_allclose(executor.grad_dict["lut_scores"].asnumpy(), selected.T @ x, atol=1e-4)
    dx = np.zeros_like(x)
    np.add.at(dx, (slice(None), chosen), selected)
    np.testing.assert_allclose(executor.grad_dict["data"].asnumpy(), dx, atol=1e-4)


@pytest.mark.parametrize("kind, table", [(layers.AverageLut, reference_lut.average_tables),
                                         (layers.MaxLut, reference_lut.max_tables)])
@pytest.mark.parametrize("connection, binarize_input", [("serial", True), ("random", True), ("serial", False)])
@pytest.mark.parametrize("n", [2, 3, 6])
def test_average_and_max_are_their_tables(n, connection, binarize_input, kind, table):
    """BinaryBrain exports OR as a majority, imports the majority as input 0, and calls a sum of bits above 0 one."""
    net = getattr(qnn.sym, kind.op)(mx.sym.Variable("data"), num_nodes=4, in_units=4 * n, n=n, connection=connection,
                                    binarize_input=binarize_input, name="lut")
    x = np.random.RandomState(0).randint(2, size=(300, 4 * n)).astype(np.float32)
    wired = layers.WiredOptions(name="lut", num_nodes=4, in_units=4 * n, n=n, connection=connection).wiring()
    wired = wired.init.value((4, n)).astype(int)
    params = {"data": mx.nd.array(x)}
    if "lut_connections" in net.list_arguments():
        params["lut_connections"] = mx.nd.array(wired)
    grads = {"data": mx.nd.zeros(x.shape)}
    executor = net.bind(mx.cpu(), params, args_grad=grads)
    y = executor.forward(is_train=True)[0].asnumpy()
    np.testing.assert_array_equal(y, reference_lut.table_forward(x, wired, table(n, 4)))
    executor.backward(mx.nd.ones(y.shape))
    wanted = np.zeros_like(x)
    if kind is layers.AverageLut:
        np.add.at(wanted, (slice(None), wired), np.float32(1 / n))
    else:
        for node in range(4):
            np.add.at(wanted, (np.arange(len(x)), wired[node][x[:, wired[node]].argmax(1)]), 1)
    np.testing.assert_allclose(grads["data"].asnumpy(), wanted, atol=1e-6)


def test_binary_lut_reads_its_table():
    random = np.random.RandomState(0)
    given = [int(t) for t in random.randint(2 ** 16, size=5)]
    net = qnn.sym.BinaryLut(mx.sym.Variable("data"), num_nodes=5, in_units=9, n=4, tables=given, name="lut")
    executor, _ = values(net, (100, 9))
    x, wired = executor.arg_dict["data"].asnumpy(), executor.aux_dict["lut_connections"].asnumpy().astype(int)
    assert net.list_arguments() == ["data"]
    y = executor.forward(is_train=True)[0].asnumpy()
    np.testing.assert_array_equal(y, reference_lut.table_forward(x, wired, given))


def test_locks_and_scopes():
    x = mx.sym.Variable("data")
    with qnn.lut.modes(parameter_lock=True, backward_break=True, lut_binarize=True):
        net = qnn.sym.DifferentiableLut(x, num_nodes=4, in_units=8, n=3, name="lut")
        free = qnn.sym.DifferentiableLut(x, num_nodes=4, in_units=8, n=3, name="lut", parameter_lock=False)
    executor, random = values(net, (30, 8))
    executor.forward(is_train=True)
    executor.backward(mx.nd.array(random.randn(30, 4)))
    assert not executor.grad_dict["lut_weight"].asnumpy().any() and not executor.grad_dict["data"].asnumpy().any()
    assert not executor.aux_dict["lut_moving_mean"].asnumpy().any()
    executor, random = values(free, (30, 8))
    executor.forward(is_train=True)
    executor.backward(mx.nd.array(random.randn(30, 4)))
    assert executor.grad_dict["lut_weight"].asnumpy().any() and executor.aux_dict["lut_moving_mean"].asnumpy().any()
    assert "__qnn_lut_binarize__" in free.attr_dict()["lut"]


@pytest.mark.parametrize("options, sentence", [
    (dict(num_nodes=4, in_units=8, n=7), r"DifferentiableLut 'lut': n is 2\.\.6, got 7"),
    (dict(num_nodes=4, in_units=8, n=1), r"n is 2\.\.6, got 1"),
    (dict(num_nodes=4, in_units=5), "in_units is at least n=6: a node reads n different inputs, got 5"),
    (dict(num_nodes=0, in_units=8), "num_nodes is a number above 0, got 0"),
    (dict(num_nodes=4, in_units=8, connection="gauss"), "connection is one of random, serial, .*learned.*got 'gauss'"),
    (dict(num_nodes=1, in_units=8, n=2, connection=[[0, 8]]), r"input 1 of node 0 is wired to 8, inputs are 0\.\.7"),
    (dict(num_nodes=4, in_units=8, momentum=1.0), "momentum is 0..1, 1 excluded"),
    (dict(num_nodes=4, in_units=8, units=3), "unknown argument 'units'; known: "),
    (dict(num_nodes=4, in_units=8, connection="depthwise"), "depthwise needs in_shape and out_shape"),
    (dict(num_nodes=4, in_units=9, in_shape=(2, 2, 2)), r"in_units is the product of in_shape=\(2, 2, 2\), got 9"),
])
def test_bad_arguments_are_named(options, sentence):
    for make in (lambda: qnn.sym.DifferentiableLut(mx.sym.Variable("data"), name="lut", **options),
                 lambda: qnn.gluon.DifferentiableLut(prefix="lut_", **options)):
        with pytest.raises(OptionError, match=sentence):
            make()


def test_bad_wirings_and_shapes_are_named_at_run_time():
    net = qnn.sym.DifferentiableLut(mx.sym.Variable("data"), num_nodes=4, in_units=8, name="lut")
    with pytest.raises(mx.MXNetError, match=r"needs data of shape \(frames, 8, ...\), got \(3, 9\)"):
        net.infer_shape(data=(3, 9))
    executor, _ = values(net, (3, 8))
    executor.aux_dict["lut_connections"][2, 1] = 8
    with pytest.raises(mx.MXNetError, match="reads inputs 0..7, but input 1 of node 2 is wired to 8"):
        executor.forward(is_train=False)[0].asnumpy()
