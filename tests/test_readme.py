"""Every snippet of the README runs, in order, in one folder; what it promises about files holds."""
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(r"```%s\n(.*?)```" % language, README, re.S)


def environment():
    binaries = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": binaries + os.pathsep + os.environ["PATH"]}


@pytest.mark.slow
def test_snippets_run_in_order(tmp_path):
    (tmp_path / "snippets.py").write_text("\n".join(blocks("python")))
    done = subprocess.run([sys.executable, "snippets.py"], cwd=tmp_path, env=environment(), capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    assert "conv2" in done.stdout and "QConvolution" in done.stdout
    for line in "\n".join(blocks("sh")).strip().splitlines():
        done = subprocess.run(shlex.split(line), cwd=tmp_path, env=environment(), capture_output=True, text=True)
        assert done.returncode == 0, "%s\n%s" % (line, done.stderr)
        assert done.stdout.strip(), line
    assert (tmp_path / "packed-symbol.json").exists() and (tmp_path / "packed-0010.params").exists()


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_two_commands_are_those_of_ci():
    commands = re.findall(r"^    (pip install .*?) +#", README, re.M)
    assert len(commands) == 2
    ci = (ROOT / ".ci" / "run").read_text()
    assert commands[1].split("&&")[0].split("install")[1].strip() in ci and "pytest" in ci
