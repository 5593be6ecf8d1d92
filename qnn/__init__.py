"""qnn: binary and quantized neural networks on stock Apache MXNet 1.9.1: drop-in layers, packed bits, the same numbers
everywhere.

    import qnn                       (before mxnet, where numpy is 1.24 or newer)
    qnn.sym.QConvolution(...)        drop-in layers; also qnn.nd, qnn.gluon, mx.sym, mx.nd
    qnn.swap(symbol)                 replaces the layers of a graph
    qnn.recompose(symbol)            a graph that another machine saved, as it is composed here
    qnn.convert(symbol, args, auxs)  trained graph -> packed graph
    qnn.load(prefix, epoch)          runs either
"""
import importlib
import os
import sys

__version__ = "0.1.0"

_PUBLIC = {  # name: module that holds it, and what it is called there (None: the module itself)
    "sym": ("symbol", None), "nd": ("ndarray", None), "gluon": ("gluon", None),
    "builtin_operators": ("layers", "builtin_operators"), "swap": ("swap", "swap"),
    "recompose": ("recompose", "recompose"), "summary": ("summary", "summary"),
    "load": ("inference", "load"), "datasets": ("datasets", None), "reference": ("reference", None),
    "quantizers": ("quantizers", None), "losses": ("losses", None), "metrics": ("metrics", None),
    "optimizers": ("optimizers", None), "callbacks": ("callbacks", None),
    "lut": ("lut", None),
    "LutNetwork": ("lut_network", "LutNetwork"), "LutLayer": ("lut_network", "LutLayer"),
    "LutModel": ("lut_model", "LutModel"),
}
__all__ = sorted(_PUBLIC) + ["convert", "start", "__version__"]


def start():
    """Imports MXNet (on any supported numpy), registers the native operators and installs mx.sym.QConvolution and
    relatives.

    `import qnn` calls this; only the `qnn` command waits until it knows that MXNet is needed. Calling it again is
    harmless.
    """
    from . import compat
    compat.import_mxnet()
    from . import library
    library.load()
    library.install()
    for name, (module, attribute) in _PUBLIC.items():  # bound here: the submodule qnn.swap must not hide qnn.swap()
        module = importlib.import_module("qnn." + module)
        globals()[name] = getattr(module, attribute) if attribute else module


def convert(*args, **kwargs):
    """Packs a trained graph; see qnn.converter.convert, whose arguments these are."""
    from .converter import convert as run
    return run(*args, **kwargs)


def _is_command():
    """True inside `qnn` and `python -m qnn` (which 3.9 cannot tell from other -m): `qnn --help` needs no MXNet."""
    program = sys.argv[0] if sys.argv else ""
    return os.path.basename(program) == "qnn" or getattr(sys, "orig_argv", [])[1:3] == ["-m", "qnn"]


if not _is_command():
    start()
