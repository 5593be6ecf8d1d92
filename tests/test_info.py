"""Info: what `qnn info` reports is what runs."""
import json
import os
import stat
import subprocess
import sys

import pytest

from qnn import backend, info


def test_report_is_json_and_complete():
    report = json.loads(json.dumps(info.info()))
    assert set(report) == {"versions", "platform", "native_library", "isa", "threads", "openmp_runtimes",
                           "mxnet_features", "tools"}
    assert set(report["versions"]) == {"qnn", "python", "numpy", "mxnet", "cffi"}
    assert report["versions"]["mxnet"] == "1.9.1"
    assert report["isa"]["chosen"] in [row["name"] for row in report["isa"]["table"] if row["is_usable"]]
    assert report["threads"]["count"] == backend.threads()
    assert set(report["tools"]) == {"iverilog", "verilator", "yosys"}
    assert all(report["mxnet_features"][name] in (True, False) for name in ("MKLDNN", "CUDA", "OPENCV", "OPENMP"))


def test_one_openmp_runtime(tmp_path):
    """MXNet and qnn._native share one; MXNet imports scikit-learn where it finds it, whose own copy lies in *.libs."""
    code = "import qnn\nfrom qnn import info\nprint(*info.openmp_runtimes(), sep='\\n')"
    paths = subprocess.check_output([sys.executable, "-c", code], cwd=str(tmp_path), text=True).splitlines()
    assert len([path for path in paths if not os.path.dirname(path).endswith(".libs")]) == 1


def test_openmp_runtimes_are_read_from_maps(tmp_path):
    maps = tmp_path / "maps"
    maps.write_text("7f0-7f1 r-xp 00000000 08:01 1  /usr/lib/libgomp.so.1.0.0\n7f1-7f2 rw-p 00000000 00:00 0 \n"
                    "7f2-7f3 r-xp 00000000 08:01 2  /opt/with space/libiomp5.so\n7f3-7f4 r--p 0 08:01 1  "
                    "/usr/lib/libgomp.so.1.0.0\n7f4-7f5 r-xp 0 08:01 3  /usr/lib/libcompute.so\n")
    assert info.openmp_runtimes(str(maps)) == ["/opt/with space/libiomp5.so", "/usr/lib/libgomp.so.1.0.0"]
    assert info.openmp_runtimes(str(tmp_path / "none")) == []


@pytest.mark.parametrize("qnn_threads, omp_threads, source", [
    ("3", "2", "QNN_NUM_THREADS=3"), ("", "2", "OMP_NUM_THREADS=2"), ("zero", "2,1", "OMP_NUM_THREADS=2,1"),
    ("0", "-1", "affinity mask"), ("4x", "2000", "affinity mask"),
])
def test_threads_source_follows_the_native_order(monkeypatch, qnn_threads, omp_threads, source):
    if not backend.is_native:
        pytest.skip("qnn._native is not built")
    monkeypatch.setenv("QNN_NUM_THREADS", qnn_threads)
    monkeypatch.setenv("OMP_NUM_THREADS", omp_threads)
    assert info.threads_source().startswith(source)


def fake_tool(folder, name, script):
    path = folder / name
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_tool_versions(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path) + os.pathsep + "/usr/bin" + os.pathsep + "/bin")
    fake_tool(tmp_path, "verilator", 'echo "Verilator 5.0 rev"\necho more\n')
    fake_tool(tmp_path, "yosys", "exit 3\n")
    assert info.tool_version("verilator") == "Verilator 5.0 rev"
    assert info.tool_version("yosys") == "exit status 3"
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert info.tool_version("iverilog") is None


def test_table_shows_everything():
    report = info.info()
    text = info.table(report)
    for shown in (report["versions"]["numpy"], report["isa"]["chosen"], report["threads"]["from"], "iverilog"):
        assert shown in text
    assert len(text.splitlines()) == 5 + 3 + len(report["isa"]["table"]) + 3 + 3


def test_table_without_native_library():
    report = info.info()
    report.update(native_library=None, openmp_runtimes=[])
    assert "not built; numpy runs" in info.table(report) and "none" in info.table(report)
