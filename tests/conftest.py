"""Fixtures that several test files use."""
import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_root():
    """Folder with datasets and published models: $QNN_DATA, else ../shared/data beside the checkout."""
    root = Path(os.environ.get("QNN_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    if not root.is_dir():
        message = "%s is missing (set QNN_DATA to the folder with mnist, cifar10, bmxnet, bnn-pynq)" % root
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    return root
