import json
from pathlib import Path

import pytest

from tests.tools.scripts import load_script


def test_table_and_json(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "step.json"
    sizes = ["--height", "32", "--width", "32", "--tracks", "0", "3", "--repeats", "1"]
    load_script("benchmarks/step.py").main([*sizes, "--no-segmenter", "--out", str(out)])
    assert len(capsys.readouterr().out.splitlines()) == 3
    result = json.loads(out.read_text())
    assert [row["tracks"] for row in result["rows"]] == [0, 3]
    assert all(row["total_ms"] > 0 for row in result["rows"])
    assert result["machine"]["torch"]
    assert result["settings"]["seed"] == "0"
