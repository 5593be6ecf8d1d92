"""qnn benchmark: what is measured is the right work, in the right order, and the report has its form; never a time."""
import json
import os
import subprocess
import sys

import mxnet as mx
import pytest
from nets import random_params, small_cnn

import qnn
from qnn import (
    backend,
    benchmark,
    benchmark_cases,
    cli,
    onnx_twin,
    timing,
)
from qnn.cli import benchmark as command

RUN = "import sys; sys.argv[0] = 'qnn'; from qnn.cli import main; sys.exit(main())"
MACHINE = {"cpu", "cores", "isa", "threads", "versions", "rounds", "clock", "popcount_gmacs", "missing", "command"}
needs_native = pytest.mark.skipif(not backend.is_native, reason="the native library is not built")


@pytest.fixture(autouse=True)
def same_threads():
    """benchmark.run sets the threads of the process."""
    threads = backend.threads()
    yield
    backend.set_threads(threads)


@pytest.fixture
def tiny(monkeypatch):
    """Cases that take no time."""
    monkeypatch.setattr(benchmark_cases, "GEMM_SHAPES", ((3, 5, 70), (16, 2, 64)))
    monkeypatch.setattr(benchmark_cases, "CONV_SHAPES", {"tiny": (2, 3, 4, 5, 3, 1), "5x5": (1, 65, 6, 17, 5, 0)})
    monkeypatch.setattr(benchmark_cases, "FC_SIZES", (65,))
    monkeypatch.setattr(benchmark_cases, "TRAIN_SHAPES", ((2, 3, 4, 4),))


def measured(kind, names=(), **options):
    return benchmark.run(benchmark_cases.select(kind), names, rounds=1, min_seconds=0, **options)


# ---- timing ----------------------------------------------------------------------------------------------------------


def test_measure_warms_up_and_interleaves():
    calls = []
    found = timing.measure({name: lambda name=name: calls.append(name) for name in "ab"}, 3, min_seconds=0)
    assert "".join(calls) == "aabb" + "aabb" * 3
    assert set(found) == {"a", "b"}


def test_measure_takes_the_median_of_a_call(monkeypatch):
    ticks = {"now": 0.0}
    durations = iter([9, 1] + [7, 1] + [8, 5] + [0, 2])  # warm-up, its repetition, three rounds that begin untimed

    def call():
        ticks["now"] += next(durations)
    monkeypatch.setattr(timing, "clock", lambda num_threads: (lambda: ticks["now"], "ticks"))
    assert timing.measure({"a": call}, 3, min_seconds=0.5) == {"a": 2}


def test_measure_repeats_short_calls_for_the_whole_turn(monkeypatch):
    ticks = {"now": 0.0, "calls": 0}

    def call():
        ticks["now"] += 0.25
        ticks["calls"] += 1
    monkeypatch.setattr(timing, "clock", lambda num_threads: (lambda: ticks["now"], "ticks"))
    assert timing.measure({"a": call}, 1, min_seconds=10) == {"a": 0.25}
    assert ticks["calls"] >= 80


def test_measure_of_threads_takes_the_fastest_call_of_a_turn(monkeypatch):
    ticks = {"now": 0.0}
    durations = iter([9, 1] + [0, 7, 2] + [0, 8, 3] + [0, 90, 4])  # warm-up, its repetition, three turns of two

    def call():
        ticks["now"] += next(durations)
    monkeypatch.setattr(timing, "clock", lambda num_threads: (lambda: ticks["now"], "ticks"))
    monkeypatch.setattr(timing, "_repeats", lambda call, now, min_seconds: (call(), call(), 2)[-1])
    assert timing.measure({"a": call}, 3, num_threads=2) == {"a": 3}


@pytest.mark.parametrize("rounds", [0, -1, 1.5])
def test_measure_refuses_rounds(rounds):
    with pytest.raises(ValueError, match="rounds is a number above 0"):
        timing.measure({}, rounds)


def test_clock_of_one_thread_is_cpu_time():
    assert timing.clock(1)[1] == "CPU time" and timing.clock(2)[1].startswith("wall time")


# ---- the report ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind, names, num_rows", [("gemm", ["mxnet", "openblas"], 2), ("conv", ["mxnet"], 2),
                                                   ("fc", ["mxnet", "openblas"], 2), ("train", ["mxnet"], 1)])
def test_report_has_its_form(tiny, kind, names, num_rows):
    report = json.loads(json.dumps(measured(kind, names, command="qnn")))
    assert set(report) == {"machine", "rows"} and set(report["machine"]) == MACHINE
    assert len(report["rows"]) == num_rows
    for row in report["rows"]:
        assert set(row) - {"stream_share"} == {"case", "threads", "isa", "us", "roofline_share", "peers"}
        assert row["case"].startswith(kind + " ") and row["us"] > 0 and row["threads"] == 1
        assert (row["roofline_share"] is None) == (kind == "train" or not backend.is_native)
        assert ("stream_share" in row) == (kind == "fc" and backend.is_native)
        assert list(row["peers"]) == names
        for peer in row["peers"].values():
            assert set(peer) == {"us", "ratio"} and peer["us"] > 0
            assert peer["ratio"] == pytest.approx(peer["us"] / row["us"], rel=2e-3)
    text = benchmark.describe(report)
    assert all(row["case"] in text for row in report["rows"]) and names[0] + " us" in text


def test_missing_peer_is_named(tiny, monkeypatch):
    def missing():
        raise ImportError("onnxruntime is not installed: pip install onnx onnxruntime")
    monkeypatch.setattr(onnx_twin, "packages", missing)
    report = measured("conv", ["onnxruntime", "mxnet"])
    assert report["machine"]["missing"] == {"onnxruntime": "onnxruntime is not installed: pip install onnx onnxruntime"}
    assert all(list(row["peers"]) == ["mxnet"] for row in report["rows"])
    assert "onnxruntime is left out: onnxruntime is not installed" in benchmark.describe(report)


def test_unknown_peer_and_kind():
    with pytest.raises(ValueError, match='unknown peer "torch"; known: mxnet, naive, onnxruntime, openblas'):
        benchmark.run([], ["torch"])
    with pytest.raises(ValueError, match='unknown benchmark "gem"; known: conv, fc, gemm, train'):
        benchmark_cases.select("gem")


def test_only_makes_no_other_case(tiny):
    assert [case.name for case in benchmark_cases.select("conv", "5x5")] == ["conv 5x5"]


def test_environment_of_an_avx512_machine(tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text("processor : 0\nflags : fpu avx2 avx512f\n\nprocessor : 1\nflags : fpu\n")
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    threads = {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    path = str(tmp_path / "cpuinfo")
    assert benchmark.environment(2, ["mxnet"], path) == threads
    assert benchmark.environment(2, ["openblas"], path) == {**threads, "OPENBLAS_CORETYPE": "SKYLAKEX"}
    monkeypatch.setenv("OPENBLAS_CORETYPE", "HASWELL")
    assert benchmark.environment(2, ["openblas"], path) == threads


def test_cpu_model(tmp_path):
    (tmp_path / "cpuinfo").write_text("model\t: 7\nmodel name\t: A CPU\ncpu family\t: 6\n\nmodel name\t: Other\n")
    assert benchmark.cpu_model(str(tmp_path / "cpuinfo")) == "A CPU (cpu family 6, model 7)"
    assert benchmark.cpu_model(str(tmp_path / "none"))


# ---- the command -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments, sentence", [
    (["gem"], 'unknown benchmark "gem"; known: conv, fc, gemm, lut, model, train'),
    (["gemm", "--peer", "torch"], 'unknown peer "torch"; known:'),
    (["gemm", "--isa", "mmx"], "--isa=mmx is not an instruction set of qnn"),
    (["gemm", "--only", "nothing"], "--only nothing is in the name of no case of gemm"),
    (["gemm", "--act-bit", "2"], "bits and codes go with conv, got gemm"),
    (["conv", "--act-bit", "9"], "--act-bit is a number from 1 to 8, got 9"),
    (["conv", "--act-code", "dorefa"], "--act-code is bipolar, unsigned or signed, got 'dorefa'"),
    (["conv", "--weight-code", "ternary", "--weight-bit", "2"], "ternary without --weight-bit"),
    (["gemm", "--threads", "0"], "--threads is a number from 1 to 1024, got 0"),
    (["conv", "--rounds", "0"], "--rounds is a number from 1 to 1024, got 0"),
    (["gemm", "--network", "lenet"], "--network NET goes with model"),
    (["model"], "model with --network NET"),
])
def test_command_refuses(capfd, arguments, sentence):
    assert cli.main(["benchmark"] + arguments) == 2
    out, err = capfd.readouterr()
    assert not out and sentence in err and err.startswith("qnn benchmark: error: ") and len(err.splitlines()) == 1


@pytest.mark.parametrize("network, shape, sentence", [
    ("alexnet", "3,8,8", "--network is lenet, resnet18 or PREFIX:EPOCH, got 'alexnet'"),
    ("net:1", None, "--shape is C,H,W of an image, 3,32,32 for instance, got 'nothing'"),
    ("net:1", "3,0,8", "--shape has numbers above 0"),
    ("net:1", "3,8,8", "net-symbol.json"),
])
def test_network_is_refused(network, shape, sentence):
    args = cli.parser().parse_args(["benchmark", "model", "--network", network] + (["--shape", shape] if shape else []))
    with pytest.raises((ValueError, OSError), match=sentence):
        command.cases(args)


@pytest.mark.parametrize("line", [
    "gemm", "conv --act-bit 2 --weight-bit 3 --act-code signed", "conv --weight-code ternary",
    "conv --peer mxnet,openblas --threads 2 --isa avx2 --rounds 3 --only 64@56 --json",
    "model --network out/net:20 --shape 3,32,32 --batch-size 64"])
def test_command_line_says_what_was_asked(line):
    args = cli.parser().parse_args(["benchmark"] + line.split())
    assert cli.parser().parse_args(command.command_line(args)) == args


@pytest.mark.parametrize("line, count", [("conv --threads 2 --peer mxnet", 1), ("conv --threads 2", 0),
                                         ("conv --peer mxnet", 0), ("train --threads 2 --peer mxnet", 0)])
def test_remark_on_threads_of_several_libraries(line, count):
    args = cli.parser().parse_args(["benchmark"] + line.split())
    names = (args.peer or "").split(",") if args.peer else []
    assert len(command.remarks(args, names, {})) == count
    assert command.remarks(args, names, {"x": "not installed"})[0] == "x is left out: not installed"


def test_checkpoint_is_measured_beside_its_twin(tmp_path):
    symbol = small_cnn()
    args, auxs = ({name: mx.nd.array(value) for name, value in params.items()}
                  for params in random_params(symbol, (2, 3, 9, 9)))
    mx.model.save_checkpoint(str(tmp_path / "net"), 3, symbol, args, auxs)
    wanted = ["benchmark", "model", "--network", "%s:3" % (tmp_path / "net"), "--shape", "3,9,9", "--batch-size", "2"]
    (case,) = command.cases(cli.parser().parse_args(wanted))
    assert case.name == "model net, batch 2" and case.twin.data.shape == (2, 3, 9, 9)
    assert case.run().shape == (2, 10)


def test_packed_checkpoint_has_no_twin(tmp_path):
    symbol = small_cnn()
    packed, args, auxs, _ = qnn.convert(symbol, *random_params(symbol, (2, 3, 9, 9)))
    mx.model.save_checkpoint(str(tmp_path / "net"), 3, packed, args, auxs)
    wanted = ["benchmark", "model", "--network", "%s:3" % (tmp_path / "net"), "--shape", "3,9,9"]
    with pytest.raises(ValueError, match="is packed already and has no float twin"):
        command.cases(cli.parser().parse_args(wanted))


def test_lenet_case():
    args = cli.parser().parse_args(["benchmark", "model", "--network", "lenet", "--batch-size", "2"])
    (case,) = command.cases(args)
    assert case.run().shape == (2, 10) and case.name == "model lenet, batch 2"


def test_command_prints_json(tiny, capfd):
    assert cli.main(["benchmark", "gemm", "--rounds", "1", "--json"]) == 0
    report = json.loads(capfd.readouterr().out)
    assert [row["case"] for row in report["rows"]] == ["gemm 3x5x70", "gemm 16x2x64"]
    assert report["machine"]["command"] == "qnn benchmark gemm --threads 1 --rounds 1 --json"


def test_command_starts_again_with_the_threads_of_its_peers():
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", RUN, "benchmark", "fc", "--only", "fc 1024 packed", "--rounds", "1",
                           "--peer", "mxnet,openblas", "--json"], capture_output=True, text=True, check=False,
                          env=environment, cwd=os.path.dirname(sys.executable))
    assert done.returncode == 0 and not done.stderr, done.stderr
    report = json.loads(done.stdout)
    assert set(report["rows"][0]["peers"]) == {"mxnet", "openblas"} and report["machine"]["versions"]["openblas"]


@pytest.mark.slow
def test_paper_figures(tmp_path):
    pytest.importorskip("matplotlib")
    script = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "examples", "benchmarks",
                          "paper_figures.py")
    done = subprocess.run([sys.executable, script, "--out", str(tmp_path / "out"), "--batch-size", "1", "--rounds", "1",
                           "--limit", "2"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "out" / "figures.json").read_text())["figures"]
    assert set(figures) == {"channels", "filters", "kernels"}
    for name, figure in figures.items():
        assert (tmp_path / "out" / (name + ".png")).stat().st_size > 10000
        assert len(figure["milliseconds"]) == 2
        assert {"cblas", "xnor", "xnor + binarize"} <= set(figure["milliseconds"][0])
