"""qnn.converter.verilog: a converted model becomes synthesizable Verilog that computes the same bits.

    design = qnn.converter.verilog.generate(load("out/lfc", 0), "out/rtl", target_fps=100000, clock_mhz=200)

FAMILIES are the kinds of networks that have a generator, each a module here with

    OPTIONS                                      {function: names of the options that it takes}
    accepts(graph) -> bool                       graph: qnn.graph.Graph of the checkpoint
    load(prefix, epoch, **options) -> network
    generate(network, folder, **options) -> Design
    verify(design, **options) -> [results]

The first that accepts a graph takes it; the last, "xnor", takes everything and says what it cannot do.
"""
import importlib

from qnn import checkpoint
from qnn.graph import Graph

FAMILIES = ("luts", "xnor")


def family(prefix, epoch):
    """The module of FAMILIES that makes hardware of a checkpoint. Raises OSError, ValueError."""
    graph = Graph.load(checkpoint.paths(prefix, epoch)[0])
    modules = (importlib.import_module(__name__ + "." + name) for name in FAMILIES)
    return next(module for module in modules if module.accepts(graph))


def load(prefix, epoch, **options):
    """The hardware network of a checkpoint, trained or converted. options: of the family, see `xnor.load`."""
    return family(prefix, epoch).load(prefix, epoch, **options)


def generate(network, folder, **options):
    """Writes the design of a network that `load` gave; see `xnor.generate`, `luts.generate`. Returns a Design."""
    return importlib.import_module(network.family).generate(network, folder, **options)


def verify(design, **options):
    """Simulates the testbench of a design; see `xnor.verify`, `luts.verify`."""
    return importlib.import_module(design.family).verify(design, **options)


__all__ = ["FAMILIES", "family", "generate", "load", "verify"]
