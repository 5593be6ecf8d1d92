"""Info: what runs here, for bug reports: versions, native library, instruction sets, threads, OpenMP, tools."""
import os
import platform
import re
import shutil
import subprocess

import mxnet as mx
import numpy as np

import qnn

from . import backend

FEATURES = ("MKLDNN", "CUDA", "CUDNN", "OPENCV", "OPENMP")
TOOLS = {"iverilog": "-V", "verilator": "--version", "yosys": "-V"}  # the option that prints the version


def info():
    """Everything `qnn info` shows, as a dict for JSON."""
    return {
        "versions": versions(),
        "platform": "%s %s" % (platform.system(), platform.machine()),
        "native_library": backend.native_path() if backend.is_native else None,
        "isa": {"chosen": backend.isa(), "from": "QNN_ISA" if os.environ.get("QNN_ISA") else "the fastest usable",
                "table": backend.isa_table()},
        "threads": {"count": backend.threads(), "from": threads_source()},
        "openmp_runtimes": openmp_runtimes(),
        "mxnet_features": {name: mx.runtime.Features().is_enabled(name) for name in FEATURES},
        "tools": {name: tool_version(name) for name in TOOLS},
    }


def versions():
    """Version of everything that takes part; None for what is not installed."""
    try:
        import cffi
        cffi_version = cffi.__version__
    except ImportError:
        cffi_version = None
    return {"qnn": qnn.__version__, "python": platform.python_version(), "numpy": np.__version__,
            "mxnet": mx.__version__, "cffi": cffi_version}


def threads_source():
    """Where the number of threads comes from, as native/threads.c decides."""
    if not backend.is_native:
        return "numpy kernels run on one thread"
    for name in ("QNN_NUM_THREADS", "OMP_NUM_THREADS"):
        count = re.match(r"\s*[+]?(\d+) *(?:,|$)", os.environ.get(name, ""))
        if count and 1 <= int(count.group(1)) <= 1024:
            return "%s=%s" % (name, os.environ[name])
    return "affinity mask of %d cores" % len(os.sched_getaffinity(0))


def openmp_runtimes(maps="/proc/self/maps"):
    """OpenMP libraries mapped into this process: one is right, two fight for the cores."""
    try:
        with open(maps) as file:
            mapped = [line.split(None, 5)[5].strip() for line in file if line.count("/")]
    except OSError:
        return []
    return sorted({path for path in mapped if re.search(r"/lib(gomp|iomp5|omp)\b[^/]*\.so", path)})


def tool_version(name):
    """First line that a simulator or synthesis tool prints about its version; None where it is not installed."""
    if shutil.which(name) is None:
        return None
    try:
        done = subprocess.run([name, TOOLS[name]], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20,
                              stdin=subprocess.DEVNULL, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return "does not run: %s" % error
    lines = done.stdout.decode("utf-8", "replace").strip().splitlines()
    return lines[0].strip() if lines else "exit status %d" % done.returncode


def table(report):
    """The report of info() as text."""
    isa, threads = report["isa"], report["threads"]
    rows = [(name, value or "not installed") for name, value in report["versions"].items()]
    rows += [("platform", report["platform"]), ("native library", report["native_library"] or "not built; numpy runs"),
             ("instruction set", "%s (%s)" % (isa["chosen"], isa["from"]))]
    states = {(True, True): "usable", (True, False): "built, not usable on this machine", (False, False): "not built"}
    rows += [("  " + row["name"], states[row["is_built"], row["is_usable"]]) for row in isa["table"]]
    rows += [("threads", "%d (%s)" % (threads["count"], threads["from"])),
             ("OpenMP", ", ".join(report["openmp_runtimes"]) or "none"),
             ("MXNet features", ", ".join(name for name, on in report["mxnet_features"].items() if on) or "none")]
    rows += [(name, value or "not found") for name, value in report["tools"].items()]
    width = max(len(name) for name, _ in rows)
    return "\n".join("%-*s  %s" % (width, name, value) for name, value in rows)
