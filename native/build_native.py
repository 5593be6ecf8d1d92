"""build_native: the cffi module `qnn._native`, cut from the public headers, and the flags of every native file.

    drivers(), kernels(isa), adapters()  ->  source files;  isa_flags()[isa]  ->  extra flags of that ISA's kernel files
"""
import importlib.util
import platform
from pathlib import Path

import cffi

NATIVE = Path(__file__).resolve().parent
HEADERS = [NATIVE / "include" / name for name in ("qnn.h", "qnn_train.h")]

# -ffp-contract=off: a fused multiply-add rounds once where the definition rounds twice; results would differ by ISA.
C_FLAGS = ["-O3", "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-fvisibility=hidden", "-fopenmp",
           "-ffp-contract=off", "-g0"]
# The adapter keeps default visibility: MXNet finds the lib_api entry points by dlsym.
CXX_FLAGS = ["-O2", "-std=c++11", "-Wall", "-fopenmp", "-ffp-contract=off", "-g0"]
LINK_FLAGS = ["-fopenmp", "-pthread"]

AVX512 = ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512vpopcntdq"]
ISA_FLAGS = {
    "x86_64": {
        "scalar": [],
        "popcnt": ["-mpopcnt"],
        "avx2": ["-mavx2", "-mfma"],
        "avx512": AVX512,
        "amx": AVX512 + ["-mavx512vbmi", "-mamx-tile", "-mamx-int8", "-mamx-bf16"],
    },
    "aarch64": {"scalar": [], "neon": []},
}


def isa_flags():
    """{isa: flags} of this machine; an unknown machine gets the scalar kernels."""
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    return ISA_FLAGS.get(machine, {"scalar": []})


def drivers():
    """C files that are compiled for every machine: drivers, dispatch, threads."""
    return sorted(NATIVE.glob("*.c"))


def kernels(isa):
    """Kernel files of one instruction set: kernels/<op>-<isa>.c."""
    return sorted((NATIVE / "kernels").glob("*-%s.c" % isa))


def adapters():
    """(C++ files, include folder) of the MXNet adapter: ours and the wheel's own lib_api.cc; ([], None) without ours.

    The wheel is located, never imported: only its header and that one source file are used.
    """
    ours = sorted((NATIVE / "mxnet").glob("*.cc"))
    if not ours:
        return [], None
    spec = importlib.util.find_spec("mxnet")
    if spec is None or not spec.origin:
        raise SystemExit("qnn: the MXNet adapter needs the headers of mxnet 1.9.1; run: pip install mxnet==1.9.1")
    wheel = Path(spec.origin).parent
    lib_api = wheel / "src" / "lib_api.cc"
    if not lib_api.exists():
        raise SystemExit("qnn: %s is missing; mxnet 1.9.1 from PyPI ships it" % lib_api)
    return ours + [lib_api], wheel / "include"


def declarations():
    """The cffi declarations: the public headers between their two markers."""
    return "".join(_between_markers(header.read_text()) for header in HEADERS)


def _between_markers(text):
    begin, end = text.index("/* cdef begin"), text.index("/* cdef end")
    return text[text.index("*/", begin) + 2:end]


def emit_c_code(path):
    """Writes the C source of the module `qnn._native` to `path`."""
    ffi = cffi.FFI()
    ffi.cdef(declarations())
    ffi.set_source("qnn._native", '#include "qnn_train.h"')
    ffi.emit_c_code(str(path))
