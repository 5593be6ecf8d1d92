"""Distributed training on loopback: scheduler, server and workers as processes of their own."""
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
LAUNCH = [sys.executable, str(ROOT / "examples" / "launch.py"), "--workers", "2", "--"]
WORKER = [sys.executable, str(ROOT / "tests" / "distributed_worker.py")]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}

pytestmark = pytest.mark.slow


def run(command, timeout=300):
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=ENVIRONMENT)


def results(launch, directory, *arguments):
    """What the workers, in the order of their ranks, have written."""
    directory.mkdir()
    done = run(launch + WORKER + [str(directory), *arguments])
    assert done.returncode == 0, done.stderr
    return [json.loads(path.read_text()) for path in sorted(directory.iterdir())]


def test_two_workers_train_like_one_with_the_doubled_batch(tmp_path):
    """Gradients are summed in another order, so that the last bits differ."""
    one, = results([], tmp_path / "one", "local", "32")
    two = results(LAUNCH, tmp_path / "two", "dist_sync", "16")
    assert len(two) == 2
    assert one["losses"][-1] != one["losses"][0]
    np.testing.assert_allclose(np.mean([result["losses"] for result in two], axis=0), one["losses"], rtol=1e-4)
    for name, expected in one["params"].items():
        assert two[0]["params"][name] == two[1]["params"][name]
        np.testing.assert_allclose(two[0]["params"][name], expected, rtol=1e-3, atol=1e-5)


def test_killed_worker_ends_the_training(tmp_path):
    start = time.monotonic()
    done = run(LAUNCH + WORKER + [str(tmp_path), "dist_sync", "16", "1"], timeout=120)
    assert done.returncode == 1 and time.monotonic() - start < 100
    assert "launch: worker " in done.stderr
    assert "ended with signal SIGKILL; all other processes are stopped" in done.stderr


def test_failing_worker_ends_the_training():
    done = run(LAUNCH + [sys.executable, "-c", "import sys; sys.exit(3)"], timeout=120)
    assert done.returncode == 1 and "ended with exit status 3" in done.stderr


def test_nothing_to_launch():
    done = run(LAUNCH)
    assert done.returncode == 2 and "a command is expected behind --" in done.stderr
