"""qnn demo: trains, converts, compares; the figure is a picture."""
import json

import pytest

from qnn.cli import main


@pytest.mark.slow
def test_demo(tmp_path, capsys):
    figure = tmp_path / "demo.png"
    assert main(["demo", "--epochs", "8", "--figure", str(figure), "--json"]) == 0
    out = json.loads(capsys.readouterr().out)
    results = out["results"]
    assert out["different_outputs"] == 0
    assert results["packed"]["accuracy"] == results["binary"]["accuracy"] > 0.9
    assert results["float"]["accuracy"] > 0.9
    assert results["packed"]["bytes"] * 20 < results["binary"]["bytes"] == results["float"]["bytes"]
    assert figure.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and figure.stat().st_size > 10000
