"""Builds qnn: three source folders, one import package, one native module (see native/build_native.py)."""
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, find_namespace_packages, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "native"))
import build_native  # noqa: E402

FOLDERS = {"qnn": "qnn", "qnn.converter": "converter", "qnn.model_zoo": "model_zoo"}


def packages():
    """Every import package, by name. Folders without an __init__.py count: they hold data, such as Verilog modules."""
    names = []
    for name, folder in FOLDERS.items():
        found = find_namespace_packages(str(ROOT / folder), exclude=["*__pycache__*"])
        names += [name] + ["%s.%s" % (name, sub) for sub in found]
    return names


class BuildNative(build_ext):
    """Compiles every kernel file with the flags of its own instruction set, and skips those the compiler refuses."""

    def accepts(self, flags):
        """True if the compiler takes `flags`."""
        with tempfile.TemporaryDirectory() as folder:
            probe = Path(folder) / "probe.c"
            probe.write_text("int qnn_probe;\n")
            try:
                self.compiler.compile([str(probe)], output_dir=folder, extra_postargs=["-Werror"] + flags)
            except Exception:  # distutils raises its own CompileError, whose import path moved between versions
                return False
        return True

    def objects(self, paths, flags, macros, includes):
        """Futures of the object files of `paths`: compilers run side by side, one on each core."""
        def compile_file(path):
            # Relative names: distutils places the objects under build_temp by the source's path.
            name = os.path.relpath(path, ROOT) if ROOT in Path(path).parents else str(path)
            return self.compiler.compile([name], output_dir=self.build_temp, macros=macros, include_dirs=includes,
                                         extra_postargs=flags)
        return [self.cores.submit(compile_file, path) for path in paths]

    def build_extension(self, ext):
        generated = Path(self.build_temp) / "_native.c"
        generated.parent.mkdir(parents=True, exist_ok=True)
        build_native.emit_c_code(generated)
        ext.sources = [str(generated)]

        native = build_native
        built = {isa: flags for isa, flags in native.isa_flags().items()
                 if native.kernels(isa) and (not flags or self.accepts(flags))}
        macros = [("QNN_HAVE_%s" % isa.upper(), "1") for isa in built]
        includes = [str(native.NATIVE), str(native.NATIVE / "include")]
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as self.cores:
            linked = self.objects(native.drivers(), native.C_FLAGS, macros, includes)
            for isa, flags in built.items():
                linked += self.objects(native.kernels(isa), native.C_FLAGS + flags, macros, includes)
            adapters, mxnet_include = native.adapters()
            if adapters:
                linked += self.objects(adapters, native.CXX_FLAGS, macros, includes + [str(mxnet_include)])
                ext.libraries = ["stdc++"]
        ext.extra_objects = [name for future in linked for name in future.result()]
        super().build_extension(ext)


setup(
    package_dir=FOLDERS,
    packages=packages(),
    package_data={name: ["*.json", "*.npz", "*.params", "*.v", "py.typed"] for name in packages()},
    ext_modules=[Extension(
        "qnn._native", sources=["native/build_native.py"], include_dirs=["native/include"], py_limited_api=True,
        define_macros=[("Py_LIMITED_API", "0x03090000")], extra_compile_args=["-O2", "-fvisibility=hidden"],
        extra_link_args=build_native.LINK_FLAGS)],
    cmdclass={"build_ext": BuildNative},
    options={"bdist_wheel": {"py_limited_api": "cp39"}},
)
