"""Threads: where their number comes from, and forked children, which must not hang."""
import os
import subprocess
import sys

import numpy as np
import pytest

from qnn import backend

FORK = """
import multiprocessing, sys
sys.argv[0] = "qnn"
import numpy as np
from qnn import backend
backend.set_threads(2)
a = np.full((512, 64), 5, np.uint64)
panels = backend.pack_panels(np.full((256, 64), 7, np.uint64))
def run(_):
    return backend.threads(), float(backend.xgemm(a, panels, 4096, 256).sum())
parent = run(0)
with multiprocessing.get_context("fork").Pool(2) as pool:
    children = pool.map(run, range(4))
assert parent[0] == 2 and all(c == (1, parent[1]) for c in children), (parent, children)
print("no hang")
"""


def _python(code, **env):
    base = {k: v for k, v in os.environ.items() if k not in ("QNN_NUM_THREADS", "OMP_NUM_THREADS", "QNN_ISA")}
    return subprocess.run([sys.executable, "-c", code], env=dict(base, **env), capture_output=True, text=True,
                          timeout=60, cwd=os.path.dirname(__file__))


@pytest.mark.skipif(not backend.is_native, reason="qnn._native is not built")
def test_forked_child_runs_kernels_on_one_thread():
    done = _python(FORK)
    assert done.returncode == 0 and "no hang" in done.stdout, done.stderr


@pytest.mark.parametrize("env, wanted", [
    ({"QNN_NUM_THREADS": "3", "OMP_NUM_THREADS": "5"}, 3), ({"OMP_NUM_THREADS": "5"}, 5),
    ({"OMP_NUM_THREADS": "4,2"}, 4), ({"QNN_NUM_THREADS": "0", "OMP_NUM_THREADS": "5"}, 5),
    ({"QNN_NUM_THREADS": "many"}, None), ({"QNN_NUM_THREADS": "2x", "OMP_NUM_THREADS": "-1"}, None), ({}, None)])
def test_number_of_threads(env, wanted):
    if not backend.is_native:
        pytest.skip("qnn._native is not built")
    code = "import sys; sys.argv[0] = 'qnn'\nfrom qnn import backend; print(backend.threads())"
    done = _python(code, **env)
    assert done.stdout.strip() == str(wanted or len(os.sched_getaffinity(0))), done.stderr


def test_set_threads_bad_arguments():
    for bad in (0, -1, 1.5, 5000):
        with pytest.raises(ValueError, match="num_threads is 1..1024"):
            backend.set_threads(bad)


def test_concurrent_calls_from_python_threads():
    from concurrent.futures import ThreadPoolExecutor
    rs = np.random.RandomState(0)
    a = [rs.randint(0, 2 ** 62, (100, 20)).astype(np.uint64) for _ in range(4)]
    panels = backend.pack_panels(rs.randint(0, 2 ** 62, (96, 20)).astype(np.uint64))
    wanted = [backend.xgemm(x, panels, 1280, 96) for x in a]
    with ThreadPoolExecutor(4) as pool:
        for got, want in zip(pool.map(lambda x: backend.xgemm(x, panels, 1280, 96), a * 20), wanted * 20):
            np.testing.assert_array_equal(got, want)
