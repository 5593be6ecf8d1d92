"""tests/native/*.c on this machine: the library without Python, with asserts and the sanitizers on."""
import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from native_cases import ISAS

ROOT = Path(__file__).resolve().parent.parent


def _load_build_native():
    spec = importlib.util.spec_from_file_location("build_native", ROOT / "native" / "build_native.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_kernels_under_sanitizers(tmp_path):
    if not shutil.which("gcc"):
        message = "gcc not found: apt install gcc"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    build_native = _load_build_native()
    flags = ["-O1", "-g", "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-fopenmp", "-ffp-contract=off",
             "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-I", str(build_native.NATIVE), "-I",
             str(build_native.NATIVE / "include")]
    isas = {isa: extra for isa, extra in build_native.isa_flags().items() if isa in ISAS}  # those that can run here
    flags += ["-DQNN_HAVE_%s" % isa.upper() for isa in isas]

    def compile_files(files, extra):
        subprocess.run(["gcc", "-c"] + flags + extra + [str(f) for f in files], cwd=tmp_path, check=True, timeout=300)

    compile_files(build_native.drivers() + sorted((ROOT / "tests" / "native").glob("*.c")), [])
    for isa, extra in isas.items():
        compile_files(build_native.kernels(isa), extra)
    objects = [str(path) for path in tmp_path.glob("*.o")]
    subprocess.run(["gcc"] + flags + objects + ["-o", "test_kernels", "-lm"], cwd=tmp_path, check=True, timeout=300)
    # Leaks are the test program's own matter; under ptrace the leak checker cannot run.
    done = subprocess.run([str(tmp_path / "test_kernels")], capture_output=True, text=True, timeout=300,
                          env=dict(os.environ, ASAN_OPTIONS="detect_leaks=0"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert all("PASS scalar " + group in done.stdout for group in ("conv2d", "planes", "lut", "lut train")), done.stdout
    assert "FAIL" not in done.stdout
