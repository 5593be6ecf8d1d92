"""Compat: MXNet 1.9.1 imports on every numpy and Python that qnn supports; the slow tests install qnn's wheel there."""
import functools
import glob
import importlib
import json
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest

from qnn import compat

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.9", "3.10", "3.12")
TIMEOUT_S = 300

SMOKE = """
import sys
import qnn, mxnet as mx, numpy as np
assert "distutils" not in sys.modules or sys.modules["distutils"].__spec__, "the stand-in for distutils is left behind"
from qnn import backend, reference
assert backend.is_native
x = np.random.RandomState(0).normal(size=(2, 5, 6, 6)).astype(np.float32)
w = np.random.RandomState(1).normal(size=(4, 5, 3, 3)).astype(np.float32)
net = mx.sym.QConvolution(mx.sym.QActivation(mx.sym.Variable("data")), kernel=(3, 3), num_filter=4, name="conv1")
run = net.bind(mx.cpu(), {"data": mx.nd.array(x), "conv1_weight": mx.nd.array(w)})
y = run.forward()[0].asnumpy()
dot = sum(np.einsum("nchw,fc->nfhw", reference.sign(x)[:, :, i:i + 4, j:j + 4], reference.sign(w)[:, :, i, j])
          for i in range(3) for j in range(3))
assert np.array_equal(y, (45 + dot) / 2), y
packed, args, _, _ = qnn.convert(net, {"conv1_weight": mx.nd.array(w)}, {})
z = packed.bind(mx.cpu(), {"data": mx.nd.array(x), **args}).forward()[0].asnumpy()
assert np.array_equal(y, z), z
print("numpy", np.__version__)
"""


def test_aliases_are_added(monkeypatch):
    numpy = types.SimpleNamespace(float="kept")
    monkeypatch.setattr(compat, "np", numpy)
    compat.import_mxnet()
    assert (numpy.bool, numpy.int, numpy.object, numpy.str, numpy.complex) == (bool, int, object, str, complex)
    assert numpy.float == "kept"


def without_distutils(monkeypatch, during):
    """Runs import_mxnet as on a Python without distutils; `during` takes the place of importing mxnet."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "distutils"]:
        monkeypatch.delitem(sys.modules, name)
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "distutils" else find_spec(name))
    monkeypatch.setattr(importlib, "import_module", during)
    try:
        return compat.import_mxnet()
    finally:
        monkeypatch.undo()


def test_stand_in_for_distutils_is_removed(monkeypatch):
    def during(name):
        from distutils.version import LooseVersion, StrictVersion
        assert sys.modules["distutils"].__spec__ is None and LooseVersion is StrictVersion
        assert LooseVersion("1.10.2") > LooseVersion("1.9") and LooseVersion("1.21") >= "1.21"
        return name
    assert without_distutils(monkeypatch, during) == "mxnet"
    assert sys.modules.get("distutils") is None or sys.modules["distutils"].__spec__


def test_stand_in_is_removed_when_the_import_fails(monkeypatch):
    def during(name):
        raise OSError("libgomp.so.1 is missing")
    before = sys.modules.get("distutils")
    with pytest.raises(OSError, match="libgomp"):
        without_distutils(monkeypatch, during)
    assert sys.modules.get("distutils") is before


@pytest.mark.parametrize("smaller, larger", [("1.9", "1.10"), ("1.9", "1.9.1"), ("1.9.0", "1.9.0.post1"), ("1.8", "2")])
def test_versions_are_compared_by_number(smaller, larger):
    low, high = compat._Version(smaller), compat._Version(larger)
    assert low < high and low <= high and high > low and high >= low and low != high
    assert low < larger and low == smaller and low <= smaller and low >= smaller


# The slow tests: one wheel, one fresh environment for every interpreter.


def call(*command, **options):
    """Runs a command and returns its output; its errors are those of `require`."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=TIMEOUT_S,
                          check=False, **options)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
    return done.stdout


def require(*command, **options):
    """Runs a command that needs pip and the network: where they fail, the test fails in CI and is skipped elsewhere."""
    try:
        return call(*command, **options)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        reason = "%s: %s" % (" ".join(map(str, command)), (error.stderr or str(error))[-1500:])
        return (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


@functools.cache
def interpreter(version):
    """A working Python of this version: on PATH, or one that pyenv keeps; None without."""
    kept = os.path.join(os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv")), "versions", version + ".*", "bin")
    for path in [shutil.which("python" + version), *glob.glob(os.path.join(kept, "python" + version))]:
        try:
            if path and call(path, "-c", "import sys, venv; print('%d.%d' % sys.version_info[:2])").strip() == version:
                return path
        except (OSError, subprocess.SubprocessError):
            pass
    return None


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of a copy of the checkout: pip would reuse an old build/ folder of the checkout itself."""
    folder = tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns(".git", "build", "dist", "*.egg-info", "*.so", "__pycache__", ".*_cache", "out",
                                     ".venv", "venv")
    shutil.copytree(ROOT, folder / "source", ignore=ignored)
    require(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, folder / "source")
    wheels = list(folder.glob("*.whl"))
    assert len(wheels) == 1
    return wheels[0]


@pytest.fixture
def folder(tmp_path):
    """A place for a virtual environment, which pytest would keep: some 300 MB each."""
    yield tmp_path / "venv"
    shutil.rmtree(tmp_path / "venv", ignore_errors=True)


def environment(python, folder, *requirements):
    """A fresh virtual environment with `requirements`; its bin folder."""
    call(python, "-m", "venv", folder)
    require(folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements)
    return folder / "bin"


def check(bin_folder, expected_python, numpy_prefix):
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "QNN_ISA")}
    assert call(bin_folder / "python", "-c", SMOKE, cwd=str(bin_folder), env=clean).startswith("numpy " + numpy_prefix)
    report = json.loads(call(bin_folder / "qnn", "info", "--json", cwd=str(bin_folder), env=clean))
    assert report["versions"]["python"].startswith(expected_python + ".")
    assert report["versions"]["numpy"].startswith(numpy_prefix) and report["native_library"]


@pytest.mark.slow
def test_wheel_is_for_all_pythons(wheel):
    assert "-cp39-abi3-linux" in wheel.name


@pytest.mark.slow
@pytest.mark.parametrize("version", PYTHONS)
def test_wheel_on_another_python(wheel, folder, version):
    python = interpreter(version)
    if python is None:
        pytest.skip("no python%s on PATH nor in pyenv" % version)
    check(environment(python, folder, wheel), version, "1.26" if version == "3.12" else "1.2")


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info[:2] == (3, 12), reason="Python 3.12 has numpy 1.26 anyway")
def test_wheel_on_numpy_1_26(wheel, folder):
    bin_folder = environment(sys.executable, folder, wheel)
    require(bin_folder / "python", "-m", "pip", "install", "--quiet", "--no-deps", "numpy==1.26.4")
    check(bin_folder, "%d.%d" % sys.version_info[:2], "1.26.4")
