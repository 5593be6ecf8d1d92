"""Compat: lets MXNet 1.9.1 import on numpy 1.21-1.26 and Python 3.9-3.12. Imported before mxnet by `import qnn`.

numpy 1.24 dropped the aliases np.bool, np.int, np.float, np.object, np.complex, np.str that MXNet still reads;
Python 3.12 dropped distutils, of which MXNet takes LooseVersion and StrictVersion.
"""
import importlib
import importlib.util
import sys
import types
import warnings

import numpy as np

ALIASES = {"bool": bool, "int": int, "float": float, "object": object, "complex": complex, "str": str}


class _Version:
    """Stands for distutils.version.LooseVersion: compares dotted versions number by number."""

    def __init__(self, text):
        self.version = [int(part) if part.isdigit() else part for part in str(text).replace("-", ".").split(".")]

    def _key(self):
        return [(isinstance(part, str), part) for part in self.version]

    def __lt__(self, other):
        return self._key() < _as_version(other)._key()

    def __le__(self, other):
        return self._key() <= _as_version(other)._key()

    def __gt__(self, other):
        return self._key() > _as_version(other)._key()

    def __ge__(self, other):
        return self._key() >= _as_version(other)._key()

    def __eq__(self, other):
        return self._key() == _as_version(other)._key()

    __hash__ = None  # type: ignore[assignment]


def _as_version(value):
    return value if isinstance(value, _Version) else _Version(value)


def import_mxnet():
    """Imports mxnet and returns it. Adds the missing names first; harmless where nothing is missing.

    The stand-in for distutils goes away again: setuptools brings the real one and must not find ours.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy 1.20-1.23 warn on reading an alias that they still have
        for name, kind in ALIASES.items():
            if not hasattr(np, name):
                setattr(np, name, kind)
    stand_ins = {}
    if "distutils" not in sys.modules and importlib.util.find_spec("distutils") is None:
        package, version = types.ModuleType("distutils"), types.ModuleType("distutils.version")
        version.LooseVersion = version.StrictVersion = _Version  # type: ignore[attr-defined]
        package.version = version  # type: ignore[attr-defined]
        stand_ins = {"distutils": package, "distutils.version": version}
    sys.modules.update(stand_ins)
    try:
        return importlib.import_module("mxnet")
    finally:
        for name in stand_ins:
            del sys.modules[name]
