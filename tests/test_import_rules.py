"""Who may import whom (docs/design.md): read from the sources with ast, not by importing."""
import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {"qnn": "qnn", "qnn.converter": "converter", "qnn.model_zoo": "model_zoo"}  # as setup.py maps them
APPLICATIONS = ("qnn.converter", "qnn.model_zoo")
NO_MXNET = ("qnn.reference", "qnn.reference_quantizers", "qnn.reference_planes", "qnn.quantizers_base", "qnn.bits",
            "qnn.graph", "qnn.files", "qnn.options", "qnn.backend", "qnn.compat", "qnn.backend_images",
            "qnn.backend_lut", "qnn.reference_lut", "qnn.lut.connections", "qnn.errors",
            "qnn.cli")  # qnn.cli and its parts: not even before MXNet is needed
LEAVES = {  # everything of qnn that they may import
          "qnn.bits": (), "qnn.files": (), "qnn.options": ("qnn.quantizers",), "qnn.errors": (), "qnn.compat": (),
          "qnn.checks": ("qnn.bits",), "qnn.reference": ("qnn.bits", "qnn.reference_quantizers"),
          "qnn.reference_quantizers": (), "qnn.quantizers_base": (),
          "qnn.reference_lut": (), "qnn.lut.connections": (),
          "qnn.reference_planes": ("qnn.bits", "qnn.reference"),
          "qnn.fallback": ("qnn.bits", "qnn.reference", "qnn.reference_planes"), "qnn.graph": ("qnn.files",),
          "qnn.backend": ("qnn.bits", "qnn.reference", "qnn.fallback", "qnn.checks", "qnn._native",
                          "qnn.backend_images", "qnn.backend_lut", "qnn.backend_train"),
          "qnn.backend_train": ("qnn.backend", "qnn.checks", "qnn.reference_train"),
          "qnn.reference_train": ("qnn.reference",),
          "qnn.backend_lut": ("qnn.backend", "qnn.checks", "qnn.reference_lut"),
          "qnn.backend_images": ("qnn.backend", "qnn.bits", "qnn.checks", "qnn.fallback", "qnn.reference",
                                 "qnn.reference_planes")}


def modules():
    """{module name: path} of all three packages."""
    found = {}
    for package, folder in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            found[".".join((package,) + tuple(part for part in parts if part != "__init__"))] = path
    return found


def imports(name, path, source=None):
    """(imported module, name of the function around it or None, line) of every import in a module."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = []

    def visit(node, function):
        if isinstance(node, ast.Import):
            found.extend((alias.name, function, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[:len(package.split(".")) - node.level + 1]) if node.level else ""
            base = ".".join(part for part in (base, node.module) if part)
            found.extend((_module(base, alias.name), function, node.lineno) for alias in node.names)
        is_function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.iter_child_nodes(node):
            visit(child, getattr(node, "name", "lambda") if is_function else function)
    visit(ast.parse(source or path.read_text()), None)
    return found


def _module(base, name):
    """`from base import name`: base.name where that is a module of ours, else base."""
    full = "%s.%s" % (base, name)
    return full if full in MODULES or full == "qnn._native" else base


MODULES = modules()
IMPORTS = [(name, imported, function, "%s:%d" % (path.relative_to(ROOT), line))
           for name, path in MODULES.items() for imported, function, line in imports(name, path)]


def inside(module, packages):
    """True if `module` is one of `packages` or below one."""
    return any(module == package or module.startswith(package + ".") for package in packages)


def test_every_package_is_read():
    assert {"qnn", "qnn.backend", "qnn.cli", "qnn.converter"} <= set(MODULES)
    assert len(IMPORTS) > 50


def test_imports_are_resolved():
    source = "from . import a\nfrom .b import c\nfrom .. import d\nimport e\ndef f():\n    from qnn import backend, g\n"
    found = imports("qnn.cli.x", Path("x.py"), source)
    assert found == [("qnn.cli", None, 1), ("qnn.cli.b", None, 2), ("qnn", None, 3), ("e", None, 4),
                     ("qnn.backend", "f", 6), ("qnn", "f", 6)]
    assert imports("qnn.cli", Path("__init__.py"), "from .info import x") == [("qnn.cli.info", None, 1)]


def test_library_never_imports_applications():
    """qnn.converter and qnn.model_zoo are imported inside functions of the command line, and by qnn.convert()."""
    wrong = [where for name, imported, function, where in IMPORTS
             if not inside(name, APPLICATIONS) and inside(imported, APPLICATIONS)
             and not (function and (inside(name, ("qnn.cli",)) or (name == "qnn" and function == "convert")))]
    assert not wrong


def test_converter_never_imports_the_model_zoo():
    """The zoo converts its networks when it loads them; the converter knows of none."""
    wrong = [where for name, imported, _, where in IMPORTS
             if inside(name, ("qnn.converter",)) and inside(imported, ("qnn.model_zoo",))]
    assert not wrong


def test_library_never_imports_the_command_line():
    wrong = [where for name, imported, _, where in IMPORTS
             if not inside(name, ("qnn.cli",)) and name != "qnn.__main__" and inside(imported, ("qnn.cli",))]
    assert not wrong


def test_only_the_backend_imports_the_native_module():
    wrong = [where for name, imported, _, where in IMPORTS if imported == "qnn._native" and name != "qnn.backend"]
    assert not wrong


@pytest.mark.parametrize("package", NO_MXNET)
def test_no_mxnet(package):
    wrong = [where for name, imported, function, where in IMPORTS
             if (name == package or package == "qnn.cli" and inside(name, (package,)) and function is None)
             and inside(imported, ("mxnet",))]
    assert not wrong


@pytest.mark.parametrize("module", sorted(LEAVES))
def test_leaves_import_little(module):
    wrong = [where for name, imported, _, where in IMPORTS
             if name == module and inside(imported, ("qnn",)) and imported not in LEAVES[module]]
    assert not wrong


@pytest.mark.parametrize("module", sorted(name for name in MODULES if inside(name, ("qnn.cli",)) and name != "qnn.cli"))
def test_subcommands_are_light(module):
    """`qnn --help` imports every subcommand: what takes time belongs into run()."""
    light = ("argparse", "json", "os", "sys", "qnn.cli")
    heavy = [where for name, imported, function, where in IMPORTS
             if name == module and function is None and not inside(imported, light)]
    assert not heavy


def test_nothing_of_python_or_mxnet_in_c_drivers():
    for path in sorted((ROOT / "native").rglob("*.[ch]")):
        is_adapter = path.parent.name == "mxnet"
        assert is_adapter or not re.search(r'#include\s*["<](Python|mxnet|numpy)', path.read_text()), path


def test_openmp_is_in_drivers_only():
    for path in sorted((ROOT / "native" / "kernels").iterdir()):
        assert not re.search(r"#\s*pragma\s+omp|omp\.h", path.read_text()), path
