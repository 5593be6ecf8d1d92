"""What qnn benchmark runs: every case does the whole work, every peer computes the same product, networks are twins."""

import mxnet as mx
import numpy as np
import pytest
from nets import random_params, small_cnn
from nets import run as forward
from qnn.model_zoo.resnet import resnet18

import qnn
from qnn import (
    backend,
    benchmark,
    benchmark_cases,
    benchmark_models,
    executors,
    onnx_twin,
    peers,
    reference,
    reference_planes,
    roofline,
)
from qnn.graph import Graph

needs_native = pytest.mark.skipif(not backend.is_native, reason="the native library is not built")


@pytest.fixture(autouse=True)
def same_threads():
    """benchmark.run sets the threads of the process."""
    threads = backend.threads()
    yield
    backend.set_threads(threads)


# ---- what runs -------------------------------------------------------------------------------------------------------


def test_gemm_case_multiplies():
    case = benchmark_cases.gemm_case(18, 7, 130)
    y = case.run()
    weight, x = benchmark_cases._floats(18, 130), benchmark_cases._floats(7, 130)
    expected = (130 + np.where(x < 0, -1, 1) @ np.where(weight < 0, -1, 1).T) / 2
    assert np.array_equal(y, expected)
    assert (case.macs, case.product) == (18 * 7 * 130, (18, 7, 130))
    assert np.allclose(executors.executor_call(case.twin)().asnumpy(), x @ weight.T, atol=1e-4)


@pytest.mark.parametrize("kernel, pad, channels", [(3, 1, 70), (5, 0, 3), (1, 0, 64)])
def test_conv_case_is_the_whole_layer(kernel, pad, channels):
    case = benchmark_cases.conv_case("any", 2, channels, 6, 17, kernel, pad)
    x, weight = benchmark_cases._floats(2, 6, 6, channels), benchmark_cases._floats(17, channels, kernel, kernel)
    image = backend.pack_nhwc(x, (pad, pad))
    expected = backend.conv2d(image, backend.pack_panels(reference.pack_filters(weight)), channels, 17,
                              (kernel, kernel), pad=(pad, pad), scale=np.abs(benchmark_cases._floats(17)),
                              bias=benchmark_cases._floats(17), layout="NHWC")
    assert np.array_equal(case.run(), expected)
    assert case.macs == expected.size * channels * kernel ** 2 == np.prod(case.product)
    assert executors.executor_call(case.twin)().shape == (2, 17) + expected.shape[1:3]


@pytest.mark.parametrize("codes", [benchmark_cases.Codes(2, 1), benchmark_cases.Codes(2, 2, "bipolar"),
                                   benchmark_cases.Codes(3, 2, "signed"), benchmark_cases.Codes(1, 1, None, "masked"),
                                   benchmark_cases.Codes(4, 1, None, "masked")])
def test_conv_case_of_codes_is_the_whole_layer(codes):
    case = benchmark_cases.conv_case("any", 2, 70, 6, 17, 3, 1, codes)
    x, weight = benchmark_cases._floats(2, 6, 6, 70), benchmark_cases._floats(17, 70, 3, 3)
    if codes.act_bit == 1:
        a = reference.sign(x)
    else:
        steps = np.quantile(x, np.arange(1, 2 ** codes.act_bit) / 2 ** codes.act_bit).astype(np.float32)
        u = reference_planes.encode(x.transpose(0, 3, 1, 2), steps[:, None])
        a = reference_planes.from_unsigned(u, codes.act_bit, codes.data).transpose(0, 2, 3, 1)
    w = benchmark_cases.weight_codes(weight, codes.weight_bit, codes.weight_code)
    outside = 2 ** codes.act_bit - 1 if codes.data == "bipolar" else 0
    accum = reference_planes.convolution(a.transpose(0, 3, 1, 2), w, pad=(1, 1), pad_value=outside)
    expected = reference.finish(accum, (1, -1, 1, 1), np.abs(benchmark_cases._floats(17)), benchmark_cases._floats(17))
    assert np.array_equal(case.run().transpose(0, 3, 1, 2), expected)
    assert case.pairs == codes.act_bit * codes.weight_bit and case.macs == case.pairs * np.prod(case.product)
    assert np.array_equal(case.one_bit(), benchmark_cases.conv_case("any", 2, 70, 6, 17, 3, 1).run())


def test_fc_cases_agree():
    floats, packed = (benchmark_cases.fc_case(65, is_packed) for is_packed in (False, True))
    assert np.array_equal(floats.run(), packed.run()) and floats.run().shape == (1, 65)
    assert floats.num_bytes == 65 * 2 * 8


def test_train_case_has_gradients():
    case = benchmark_cases.train_case(2, 3, 4, 4)
    for call in (case.run, executors.executor_call(case.twin)):
        gradients = call()
        assert set(gradients) == {"data", "conv_weight"}
        assert all(np.abs(array.asnumpy()).sum() > 0 for array in gradients.values())


@pytest.mark.parametrize("m, n, k", [(5, 7, 3), (4, 1, 9)])
def test_products_of_openblas_and_naive(m, n, k):
    case = benchmark_cases.Case("any", None, product=(m, n, k))
    a, b = peers._matrices(case)
    for name, peer in (("openblas", peers.openblas), ("naive", peers.naive)):
        for call in peer(case, 1).values():
            assert np.allclose(call(), a @ b, atol=1e-4), name
    assert not peers.openblas(benchmark_cases.Case("none", None), 1)


def test_openblas_has_a_version():
    assert "(" in peers.Openblas.find().version


def test_openblas_that_is_not_loaded(tmp_path):
    (tmp_path / "maps").write_text("7f00-7f01 r--p 00000000 fe:00 1    /usr/lib/libm.so.6\n")
    with pytest.raises(ImportError, match="no OpenBLAS is loaded"):
        peers.Openblas.find(str(tmp_path / "maps"))


@needs_native
def test_popcount_loop_of_every_isa():
    chosen = backend.isa()
    try:
        for row in backend.isa_table():
            if row["is_usable"]:
                backend.select_isa(row["name"])
                call, macs = roofline.popcount_loop()
                assert call() * 64 == macs
                roofline.popcount_stream(1000)()
    finally:
        backend.select_isa(chosen)


@needs_native
def test_stream_refuses_part_of_a_line():
    words = np.zeros(63, np.uint64)
    with pytest.raises(ValueError, match="popcount_stream"):
        backend._check("popcount_stream", backend.lib.qnn_popcount_stream(backend._words(words), 63))


def test_no_roofline_without_the_native_library(monkeypatch):
    monkeypatch.setattr(backend, "is_native", False)
    assert roofline.popcount_loop() is None and roofline.popcount_stream(8) is None
    assert peers.naive(benchmark_cases.Case("any", None, product=(2, 2, 2)), 1) == {}


# ---- networks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [1, 32])
def test_resnet18_shapes(bits):
    symbol = resnet18(10, bits, bits)
    arg_shapes, outputs, _ = symbol.infer_shape(data=(2, 3, 64, 64))
    assert outputs == [(2, 10)]
    sizes = dict(zip(symbol.list_arguments(), map(np.prod, arg_shapes)))
    assert sizes["stage4_unit1_sc_weight"] == 256 * 512 and sizes["stage1_unit2_conv2_weight"] == 64 * 64 * 9
    assert "stage1_unit1_sc_weight" in sizes and "stage1_unit2_sc_weight" not in sizes


def test_resnet18_packs_all_but_stem_and_classifier():
    binary, plain = resnet18(10), resnet18(10, 32, 32)
    assert binary.list_arguments() == plain.list_arguments()
    macs = qnn.summary(binary, (1, 3, 224, 224), print_fn=lambda text: None).macs
    assert macs[1] > 10 * macs[32]


def test_random_network_balances_signs():
    net = mx.sym.BatchNorm(mx.sym.Convolution(mx.sym.Variable("data"), kernel=(3, 3), num_filter=8, name="c1"),
                           fix_gamma=False, name="bn1")
    net = qnn.sym.QConvolution(qnn.sym.QActivation(net, name="q1"), kernel=(3, 3), num_filter=8, name="c2")
    net = mx.sym.BatchNorm(net, fix_gamma=False, name="bn2")
    symbol, args, auxs = benchmark_models.random_network(net, (1, 3, 16, 16))
    data = np.random.RandomState(1).standard_normal((8, 3, 16, 16)).astype(np.float32)
    positive = (forward(symbol, data, args, auxs) > 0).mean()
    assert 0.3 < positive < 0.7
    assert auxs["bn2_moving_mean"].min() > 20  # of a range 0..72


def test_float_twin_replaces_every_layer():
    symbol = small_cnn()
    twin = benchmark_models.float_twin(Graph.from_json(symbol.tojson()))
    graph = Graph.from_json(twin.tojson())
    assert not any("__qnn_op__" in node.attrs for node in graph.nodes())
    assert {"Activation", "Convolution", "FullyConnected"} <= {node.op for node in graph.nodes()}
    assert twin.list_arguments() == symbol.list_arguments()
    args, auxs = random_params(symbol, (2, 3, 9, 9))
    assert forward(twin, np.ones((2, 3, 9, 9), np.float32), args, auxs).shape == (2, 10)


def test_model_case_runs_packed_and_float():
    symbol = small_cnn()
    args, auxs = random_params(symbol, (2, 3, 9, 9))
    twin = (benchmark_models.float_twin(Graph.from_json(symbol.tojson())), args, auxs)
    case = benchmark_models.model_case("small", (symbol, args, auxs), twin, (2, 3, 9, 9))
    assert case.run().shape == executors.executor_call(case.twin)().shape == (2, 10)
    expected = forward(symbol, case.twin.data, args, auxs)
    assert np.allclose(case.run().asnumpy(), expected, rtol=1e-4, atol=1e-3)
    row = benchmark.run([case], ["mxnet"], rounds=1, min_seconds=0)["rows"][0]
    assert row["case"] == "model small, batch 2" and row["peers"]["mxnet"]["ratio"] > 0


def test_onnx_twin_gives_what_mxnet_gives():
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    symbol = benchmark_models.float_twin(Graph.from_json(small_cnn().tojson()))
    symbol = mx.sym.SoftmaxOutput(mx.sym.Activation(symbol, act_type="tanh"), name="softmax")
    symbol, args, auxs = benchmark_models.random_network(symbol, (4, 3, 9, 9))
    data = np.random.RandomState(0).standard_normal((4, 3, 9, 9)).astype(np.float32)
    calls = onnx_twin.sessions(benchmark_cases.Twin(symbol, args, auxs, data), 1)
    assert list(calls) == ["onnxruntime", "onnxruntime-int8"]
    expected = forward(symbol, data, args, auxs)
    assert np.allclose(calls["onnxruntime"](), expected, atol=1e-5)
    assert np.allclose(calls["onnxruntime-int8"](), expected, atol=0.1)


def test_onnx_twin_refuses_unknown_operators():
    pytest.importorskip("onnx")
    with pytest.raises(ValueError, match="operator sin of 's' has no counterpart"):
        onnx_twin.model(mx.sym.sin(mx.sym.Variable("data"), name="s"), {}, (2, 3))
