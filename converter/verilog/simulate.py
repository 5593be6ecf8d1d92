"""Simulate: runs iverilog, verilator and yosys on generated files; says which package is missing."""
import re
import shutil
import subprocess
from pathlib import Path

RTL = Path(__file__).resolve().parent / "rtl"
PACKAGES = {"iverilog": "iverilog", "vvp": "iverilog", "verilator": "verilator", "yosys": "yosys",
            "yosys-abc": "yosys", "make": "make"}
BEHAVIOURAL = "QNN_BEHAVIOURAL"


class SimulationError(ValueError):
    """A tool failed, or is missing; the message has its last lines."""


def has(tool):
    """True where a tool is installed."""
    return shutil.which(tool) is not None


def need(tool):
    """Path of a tool. Raises SimulationError naming the package where it is missing."""
    path = shutil.which(tool)
    if path is None:
        raise SimulationError("%s is not installed: apt-get install %s" % (tool, PACKAGES[tool]))
    return path


def run(command, folder, timeout=3600):
    """Standard output and error of a command in `folder`. Raises SimulationError where it fails."""
    if "/" not in command[0]:
        need(command[0])
    try:
        done = subprocess.run(command, cwd=str(folder), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise SimulationError("%s took more than %d s" % (command[0], timeout)) from None
    text = done.stdout.decode("utf-8", "replace")
    if done.returncode:
        raise SimulationError("%s failed: %s" % (command[0], " | ".join(text.strip().splitlines()[-5:])))
    return text


def build_iverilog(folder, sources, top, defines=(), out="sim.vvp"):
    """Compiles with Icarus; returns the command that runs the simulation."""
    run(["iverilog", "-g2005", "-Wall", "-pRECURSIVE_MOD_LIMIT=200", "-s", top, "-o", str(out)]
        + ["-D" + name for name in defines] + list(map(str, sources)), folder)
    return ["vvp", "-n", str(out)]


def build_verilator(folder, sources, top, defines=(), out="obj_verilator"):
    """Compiles with Verilator; returns the command that runs the simulation."""
    run(["verilator", "--binary", "--timing", "-O3", "--x-assign", "unique", "--x-initial", "unique", "-Wno-fatal",
         "-Wno-lint", "-Wno-style", "--Mdir", str(out), "--top-module", top, "-MAKEFLAGS", "OPT_FAST=-O2"]
        + ["-D" + name for name in defines] + list(map(str, sources)), folder)
    return [str(Path(folder) / out / ("V" + top))]


BUILD = {"iverilog": build_iverilog, "verilator": build_verilator}


def simulate(command, folder, timeout=3600, **plusargs):
    """Runs a built testbench; {"passed", "text", "images", "beats", "interval", "latency"}."""
    text = run(command + ["+%s=%s" % item for item in plusargs.items()], folder, timeout)
    verdict = [line for line in text.splitlines() if line.startswith(("PASS", "FAIL"))]
    result = {"passed": verdict[-1:] != [] and verdict[-1].startswith("PASS"), "text": text}
    if result["passed"]:
        result.update((key, int(value)) for key, value in re.findall(r"(\w+)=(-?\d+)", verdict[-1]))
    return result
