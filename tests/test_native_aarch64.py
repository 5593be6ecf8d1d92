"""The C kernels for AArch64, cross-compiled and run under qemu: scalar and NEON against plain loops (tests/native)."""
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NATIVE = ROOT / "native"
PACKAGES = {"aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu", "qemu-aarch64": "qemu-user"}


def _missing(tool):
    message = "%s not found: apt install %s" % (tool, PACKAGES[tool])
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def test_kernels_on_aarch64(tmp_path):
    for tool in PACKAGES:
        if not shutil.which(tool):
            _missing(tool)
    program = tmp_path / "test_kernels"
    sources = sorted(NATIVE.glob("*.c")) + sorted((NATIVE / "kernels").glob("*-scalar.c")) + sorted(
        (NATIVE / "kernels").glob("*-neon.c")) + sorted((ROOT / "tests" / "native").glob("*.c"))
    # One flag set serves all files: NEON is part of AArch64's base. The flags are those of native/build_native.py.
    subprocess.run(["aarch64-linux-gnu-gcc", "-static", "-O2", "-std=c11", "-D_GNU_SOURCE", "-fopenmp",
                    "-ffp-contract=off", "-DQNN_HAVE_SCALAR", "-DQNN_HAVE_NEON", "-I", str(NATIVE), "-I",
                    str(NATIVE / "include")] + [str(s) for s in sources] + ["-o", str(program), "-lm"],
                   check=True, capture_output=True, timeout=120)
    done = subprocess.run(["qemu-aarch64", str(program)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    groups = ("conv2d", "planes", "lut", "thermometer", "mean of groups", "lut train", "lut batch norm", "lut tables")
    assert all("PASS neon " + group in done.stdout for group in groups), done.stdout
    assert "FAIL" not in done.stdout
