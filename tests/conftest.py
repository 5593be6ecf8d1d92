"""Fixtures that several test files use."""
import os
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # threads that wait would keep the other workers from their cores
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
import qnn  # before any test file imports mxnet: MXNet 1.9.1 alone does not import on numpy 1.24 and newer

# isort: split
from native_cases import ISAS


@pytest.fixture(scope="session")
def empty_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("elsewhere")


@pytest.fixture(autouse=True)
def _elsewhere(empty_folder, monkeypatch):
    """Tests run outside the checkout, where a child process would import the unbuilt source folder in place of qnn."""
    monkeypatch.chdir(empty_folder)


@pytest.fixture(params=["native", "builtin"])
def operators(request):
    """Runs a test on the native operators and once more on MXNet's own."""
    if request.param == "native" and not qnn.backend.is_native:
        pytest.skip("qnn._native is not built")
    with qnn.builtin_operators(request.param == "builtin"):
        yield request.param


@pytest.fixture(params=ISAS)
def isa(request):
    """Runs a test on every instruction set of the native library that this processor has; numpy has one, too."""
    before, threads = qnn.backend.isa(), qnn.backend.threads()
    if qnn.backend.is_native:
        qnn.backend.select_isa(request.param)
    yield request.param
    if qnn.backend.is_native:
        qnn.backend.select_isa(before)
        qnn.backend.set_threads(threads)


@pytest.fixture(scope="session")
def data_root():
    """Folder with datasets and published models: $QNN_DATA, else ../shared/data beside the checkout."""
    root = Path(os.environ.get("QNN_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    if not root.is_dir():
        message = "%s is missing (set QNN_DATA to the folder with mnist, cifar10, bmxnet, bnn-pynq)" % root
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    return root
