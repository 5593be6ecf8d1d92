"""The qnn command: help without MXNet, one sentence and exit status 2 for unusable input, no tracebacks."""
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile

import mxnet as mx
import numpy as np
import pytest

import qnn
from qnn import cli
from qnn.files import dump_params, load_params

RUN = "import sys; sys.argv[0] = 'qnn'; from qnn.cli import main; sys.exit(main())"  # as the console script does


def run(*arguments, **environment):
    """The `qnn` command in a process of its own, away from the checkout."""
    return subprocess.run([sys.executable, "-c", RUN, *map(str, arguments)], capture_output=True, text=True,
                          check=False, cwd=os.path.dirname(sys.executable), env={**os.environ, **environment})


def refused(capfd, *arguments):
    """Runs the command in this process; returns its one sentence, after checking that it is one and the status 2."""
    status = cli.main([str(argument) for argument in arguments])
    out, err = capfd.readouterr()
    lines = [line for line in err.splitlines() if not line.startswith("[")]  # MXNet's own log lines
    assert status == 2 and not out and len(lines) == 1, (status, out, err)
    prefix = "qnn %s: error: " % arguments[0]
    assert lines[0].startswith(prefix)
    return lines[0][len(prefix):]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with net-symbol.json, net-0001.params (8x8 digits, untrained) and digits.npz."""
    folder = tmp_path_factory.mktemp("cli")
    net = mx.sym.FullyConnected(mx.sym.Flatten(mx.sym.Variable("data")), num_hidden=70, name="fc1")
    net = qnn.sym.QFullyConnected(mx.sym.BatchNorm(net, name="bn1"), num_hidden=10, name="fc2")
    net = mx.sym.SoftmaxOutput(net, name="softmax")
    random = np.random.RandomState(0)
    args = {"fc1_weight": random.normal(size=(70, 64)), "fc1_bias": np.zeros(70), "bn1_gamma": np.ones(70),
            "bn1_beta": np.zeros(70), "fc2_weight": random.normal(size=(10, 70))}
    auxs = {"bn1_moving_mean": np.zeros(70), "bn1_moving_var": np.ones(70)}
    mx.model.save_checkpoint(str(folder / "net"), 1, net, {name: mx.nd.array(value) for name, value in args.items()},
                             {name: mx.nd.array(value) for name, value in auxs.items()})
    np.savez(folder / "images.npz", data=random.rand(9, 1, 8, 8).astype(np.float32), label=np.arange(9))
    return folder


def copied(folder, tmp_path, name=None, change=None):
    """A copy of the checkpoint in tmp_path whose file `name` went through `change` (bytes -> bytes); its prefix."""
    for file in ("net-symbol.json", "net-0001.params"):
        content = (folder / file).read_bytes()
        (tmp_path / file).write_bytes(change(content) if file == name else content)
    return tmp_path / "net"


def test_help_lists_every_command():
    done = run("--help")
    assert done.returncode == 0 and not done.stderr
    assert all("\n    %s " % name in done.stdout for name in cli.COMMANDS)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_of_a_command(name):
    done = run(name, "--help")
    assert done.returncode == 0 and not done.stderr
    assert "examples:\n  " in done.stdout and "qnn %s" % name in done.stdout.split("examples:")[1]
    assert "(default: None)" not in done.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["evaluate", "--help"], ["nonsense"]])
def test_mxnet_is_not_imported_without_need(arguments):
    code = RUN.replace("sys.exit(main())", "main(%r); assert not {'mxnet', 'numpy'} & set(sys.modules)" % (arguments,))
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_every_command_has_what_main_needs():
    for name in cli.COMMANDS:
        module = importlib.import_module("qnn.cli." + name)
        assert module.HELP and module.EXAMPLES and callable(module.add_arguments) and callable(module.run)


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == "qnn %s\n" % qnn.__version__


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["evaluate"], ["evaluate", "net", "one"], ["info", "--x"]])
def test_usage_errors(arguments, capsys):
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert not out and err.startswith("usage: qnn") and "error: " in err


def test_python_m_qnn():
    done = subprocess.run([sys.executable, "-m", "qnn", "--version"], capture_output=True, text=True, check=False,
                          cwd=os.path.dirname(sys.executable))
    assert (done.returncode, done.stdout) == (0, "qnn %s\n" % qnn.__version__)


def test_unknown_isa_in_the_environment():
    done = run("info", QNN_ISA="foo")
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.startswith("qnn info: error: QNN_ISA=foo is not an instruction set of qnn; usable here: ")
    assert len(done.stderr.splitlines()) == 1


def test_info_json():
    done = run("info", "--json", QNN_ISA="scalar", QNN_NUM_THREADS="3")
    assert done.returncode == 0 and not done.stderr, done.stderr
    report = json.loads(done.stdout)
    if report["native_library"]:
        assert report["isa"]["chosen"] == "scalar" and report["isa"]["from"] == "QNN_ISA"
        assert report["threads"] == {"count": 3, "from": "QNN_NUM_THREADS=3"}


def test_info_table():
    done = run("info")
    assert done.returncode == 0 and "instruction set" in done.stdout


def test_evaluate_json(folder):
    done = run("evaluate", folder / "net", 1, "--data", folder / "images.npz", "--batch-size", 4, "--json")
    assert done.returncode == 0 and not done.stderr, done.stderr
    report = json.loads(done.stdout)
    assert list(report) == ["network", "epoch", "dataset", "correct", "total", "accuracy", "images_per_second",
                            "threads", "isa"]
    assert report["dataset"] == "npz" and report["total"] == 9 and report["accuracy"] == report["correct"] / 9
    assert report["images_per_second"] > 0


def test_evaluate_progress_is_on_stderr(folder):
    done = run("evaluate", folder / "net", 1, "--data", folder / "images.npz", "--progress")
    assert done.returncode == 0 and "batch" in done.stderr and "accuracy" in done.stdout


def test_evaluate_digits_float_and_packed_agree(folder, tmp_path, capsys):
    pytest.importorskip("sklearn")
    symbol, args, auxs = mx.model.load_checkpoint(str(folder / "net"), 1)
    mx.model.save_checkpoint(str(tmp_path / "packed"), 1, *qnn.convert(symbol, args, auxs)[:3])
    counts = []
    for prefix in (folder / "net", tmp_path / "packed"):
        assert cli.main(["evaluate", str(prefix), "1", "--dataset", "digits", "--json"]) == 0
        counts.append(json.loads(capsys.readouterr().out)["correct"])
    assert counts[0] == counts[1]


@pytest.mark.parametrize("name, change, sentence", [
    ("net-0001.params", lambda content: content[:-5], "net-0001.params: not a parameter file: truncated at byte"),
    ("net-0001.params", lambda content: content[:100], "net-0001.params: not a parameter file: truncated at byte"),
    ("net-0001.params", lambda content: b"", "net-0001.params: not a parameter file: truncated"),
    ("net-0001.params", lambda content: b"PK" + content[2:], "it does not begin like an MXNet .params file"),
    ("net-0001.params", lambda content: content[:16] + b"\xff" * 8 + content[24:], "its header counts"),
    ("net-0001.params", lambda content: content[:32] + b"\x7f" * 24 + content[56:], "params: not a parameter file"),
    ("net-symbol.json", lambda content: content[:-20], "net-symbol.json: not an MXNet symbol: broken JSON at line"),
    ("net-symbol.json", lambda content: b"\xff\xfe" + content, "net-symbol.json: not an MXNet symbol: not a text file"),
    ("net-symbol.json", lambda content: b"", "net-symbol.json: not an MXNet symbol: broken JSON"),
    ("net-symbol.json", lambda content: b'{"a": [1, 2]}', "net-symbol.json: not an MXNet symbol: no \"nodes\""),
    ("net-symbol.json", lambda content: b"[1, 2]", "net-symbol.json: not an MXNet symbol: no \"nodes\""),
    ("net-symbol.json", lambda content: content.replace(b'"inputs"', b'"outputs"'), "node 0 is malformed"),
    ("net-symbol.json", lambda content: content.replace(b'"FullyConnected"', b'"Nope"'), "operator Nope of 'fc"),
    ("net-symbol.json", lambda content: content.replace(b'"BatchNorm"', b'"QConvolution"'),
     "qnn convert --from bmxnet"),
])
def test_damaged_checkpoint(folder, tmp_path, capfd, name, change, sentence):
    prefix = copied(folder, tmp_path, name, change)
    assert sentence in refused(capfd, "evaluate", prefix, 1, "--data", folder / "images.npz")


def with_params(**changes):
    """Content of a .params file -> content after adding, replacing or (None) dropping parameters."""
    def change(content):
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            params = load_params(file.name)
        params.update({"arg:" + name: value for name, value in changes.items()})
        return dump_params({name: value for name, value in params.items() if value is not None})
    return change


@pytest.mark.parametrize("changes, sentence", [
    (dict(fc2_weight=None), "net-0001.params: parameter 'fc2_weight' of"),
    (dict(fc2_weight=np.zeros((10, 71), np.float32)), "'fc2_weight' has shape (10, 71), expected (10, 70)"),
    (dict(fc2_weight=np.zeros((10, 70), np.float16)), "'fc2_weight' is float16, expected float32"),
    (dict(fc3_weight=np.zeros(1, np.float32)), "'fc3_weight' is in no operator of"),
])
def test_unfit_parameters(folder, tmp_path, capfd, changes, sentence):
    prefix = copied(folder, tmp_path, "net-0001.params", with_params(**changes))
    assert sentence in refused(capfd, "evaluate", prefix, 1, "--data", folder / "images.npz")


@pytest.mark.parametrize("arguments, sentence", [
    (["nothing", 1, "--data", "images.npz"], "nothing-symbol.json: No such file or directory"),
    (["net", 2, "--data", "images.npz"], "net-0002.params: No such file or directory"),
    (["net", 1], "--data PATH says where the images are"),
    (["net", 1, "--data", "nowhere"], "nowhere: No such file or directory"),
    (["net", 1, "--data", "nowhere", "--dataset", "mnist"], "t10k-images-idx3-ubyte: No such file or directory (nor"),
    (["net", 1, "--data", ".", "--dataset", "cifar10"], "cifar10_val.rec: No such file or directory"),
    (["net", 1, "--data", "."], ".: no dataset is found"),
    (["net", 1, "--data", "net-symbol.json", "--dataset", "npz"], "truncated or not an .npz file"),
    (["net", 1, "--data", "images.npz", "--mean", "1", "2"], "mean is one number or one per channel, 1 here, got 2"),
    (["net", 1, "--data", "images.npz", "--batch-size", "0"], "--batch-size is a number above 0, got 0"),
    (["net", 1, "--data", "images.npz", "--limit", "0"], "limit is a number above 0, got 0"),
    (["net", 1, "--data", "small.npz"], "'fc1_weight' has shape (70, 64), expected (70, 16)"),
    (["net", 1, "--data", "labels.npz"], "labels are 0..77, the network's output has shape (N, 10)"),
])
def test_evaluate_refuses(folder, capfd, monkeypatch, arguments, sentence):
    monkeypatch.chdir(folder)
    np.savez("small.npz", data=np.zeros((2, 1, 4, 4), np.float32), label=np.zeros(2, int))
    np.savez("labels.npz", data=np.zeros((2, 1, 8, 8), np.float32), label=np.array([0, 77]))
    assert sentence in refused(capfd, "evaluate", *arguments)


def test_unwritable_folder(folder, tmp_path, capfd):
    """A file where a folder should be: refused for root as well."""
    (tmp_path / "file").write_text("")
    sentence = refused(capfd, "convert", folder / "net", 1, "--out", tmp_path / "file" / "packed")
    assert "Not a directory" in sentence and "file" in sentence


def test_debug_shows_the_traceback(folder, capfd):
    for arguments in (["--debug", "evaluate", "nothing", "1", "--data", "x"], ["evaluate", "nothing", "1", "--debug"]):
        assert cli.main(arguments) == 2
        err = capfd.readouterr().err
        assert "Traceback" in err and "qnn evaluate: error: " in err


class Pretended:
    """Stands for a subcommand that ends in `error`, or returns `status`."""

    HELP, EXAMPLES = "nothing", "qnn info"

    def __init__(self, error=None, status=0):
        self.error, self.status = error, status

    def add_arguments(self, parser):
        pass

    def run(self, args):
        if self.error:
            raise self.error
        return self.status


@pytest.mark.parametrize("error, status, sentence", [
    (KeyboardInterrupt(), 130, ""), (BrokenPipeError(), 141, ""),
    (ValueError("a\n  b"), 2, "qnn info: error: a b\n"),
    (OSError(13, "Permission denied", "/x"), 2, "qnn info: error: /x: Permission denied\n"),
    (OSError("no number"), 2, "qnn info: error: no number\n"),
    (ImportError("needs matplotlib"), 2, "qnn info: error: needs matplotlib\n"),
    (mx.MXNetError("MXNetError: Error in operator f: [09:00:55] a.c:7: Check failed: a == b (1 vs. 2) : it is 1, not 2"
                   "\nStack trace"), 2, "qnn info: error: Error in operator f: it is 1, not 2\n"),
])
def test_errors_become_a_status(monkeypatch, capsys, error, status, sentence):
    monkeypatch.setattr(cli, "command_module", lambda name: Pretended(error))
    assert cli.main(["info"]) == status
    assert capsys.readouterr().err == sentence


def test_defects_are_not_hidden(monkeypatch):
    monkeypatch.setattr(cli, "command_module", lambda name: Pretended(KeyError("defect")))
    with pytest.raises(KeyError):
        cli.main(["info"])


@pytest.mark.parametrize("returned, status", [(0, 0), (1, 1), (None, 0), (True, 1)])
def test_status_is_that_of_the_command(monkeypatch, returned, status):
    monkeypatch.setattr(cli, "command_module", lambda name: Pretended(status=returned))
    assert cli.main(["info"]) == status


def test_closed_pipe_is_quiet():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-c", RUN, "info"], stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert done.returncode == 141 and done.stderr == b""


def test_interrupt():
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "  # a background job ignores it
    code += RUN.replace("sys.exit(main())", "import qnn.cli.info as i; i.run = lambda args: (print('go', flush=True), "
                        "__import__('time').sleep(60)); sys.exit(main(['info']))")
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == b"go\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130 and process.stderr.read() == b""
