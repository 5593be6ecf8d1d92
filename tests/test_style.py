"""Style: ruff and mypy with the settings of pyproject.toml, as tests."""
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("tool, arguments", [("ruff", ["check", "."]), ("mypy", [])])
def test_passes(tool, arguments, tmp_path):
    if importlib.util.find_spec(tool) is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("%s is not installed: pip install %s" % (tool, tool))
    environment = {**os.environ, "RUFF_NO_CACHE": "true", "MYPY_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-m", tool] + arguments, cwd=str(ROOT), env=environment, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert done.returncode == 0, "\n" + done.stdout[-5000:]


@pytest.mark.parametrize("path", sorted(p for folder in ("qnn", "converter", "model_zoo", "native")
                                        for p in (ROOT / folder).rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_module_says_what_it_defines(path):
    text = path.read_text()
    assert not text.strip() or text.startswith('"""'), "%s has no docstring" % path
    assert len(text.splitlines()) <= 350, "%s is more than one idea" % path
