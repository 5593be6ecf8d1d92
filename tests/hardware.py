"""Hardware: runs a Verilog module between golden beats, as tests of modules and of networks need it."""
import os
import shutil

import numpy as np
import pytest
from qnn.converter.verilog import simulate
from qnn.converter.verilog.structure import Verbatim
from qnn.converter.verilog.testbench import beats, memory, testbench

STRESS = [dict(gap=0, stall=0), dict(gap=30, stall=50, seed=2), dict(gap=0, stall=90, seed=3),
          dict(gap=60, stall=0, resets=4, seed=4)]


def needs(*tools):
    """Skips a test where a tool is missing; in CI that is a failure."""
    for tool in tools:
        if shutil.which(tool) is None:
            message = "%s is not installed: apt-get install %s" % (tool, simulate.PACKAGES[tool])
            pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)


def parameters(**params):
    """"#(.A(1), .B("x"))" of Verilog."""
    values = ((key, value if isinstance(value, (int, np.integer, Verbatim)) else '"%s"' % value)
              for key, value in params.items())
    return "#(%s)" % ", ".join(".%s(%s)" % item for item in values)


def run_module(folder, module, inputs, outputs, lanes, lane_bits, memories=None, stress=None, defines=(),
               interval=1000, simulator="iverilog", sources=()):
    """Simulates a module on (images, items) codes; returns the results, one for each of `stress`. All must pass.

    lanes, lane_bits: (in, out). memories: {file: (words, bits) bool}. Asserts that the testbench prints PASS.
    """
    needs(*{"iverilog": ("iverilog", "vvp")}.get(simulator, (simulator,)))
    folder.mkdir(parents=True, exist_ok=True)
    streams = [beats(codes.reshape(len(codes), -1), *size) if codes.ndim == 2 else codes
               for codes, size in zip((inputs, outputs), zip(lanes, lane_bits))]
    images = len(inputs)
    files = {"inputs.mem": streams[0], "outputs.mem": streams[1], **(memories or {})}
    for name, words in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(memory(words))
    text = testbench(module, *[lane * bits for lane, bits in zip(lanes, lane_bits)],
                     *[len(stream) // images for stream in streams], images, interval, inputs="inputs.mem",
                     outputs="outputs.mem")
    (folder / "tb.v").write_text(text)
    build = simulate.BUILD[simulator]
    command = build(folder, sorted(simulate.RTL.glob("*.v")) + list(sources) + ["tb.v"], "qnn_tb", defines)
    results = [simulate.simulate(command, folder, 300, **options) for options in (stress or STRESS)]
    for options, result in zip(stress or STRESS, results):
        assert result["passed"], "%s\n%s" % (options, result["text"][-2000:])
        assert result["images"] == images
    return results
