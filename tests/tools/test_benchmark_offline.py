import json
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT


def test_table_and_json(tmp_path: Path) -> None:
    """In a process of its own, because it starts others that import the script again."""
    out = tmp_path / "offline.json"
    options = ["--config-file", str(ROOT / "configs/synthetic/DVIS_offline.yaml"), "--frames", "3"]
    options += ["--height", "32", "--width", "32", "--threads", "1", "--json", str(out)]
    script = str(ROOT / "benchmarks" / "offline.py")
    run = subprocess.run([sys.executable, script, *options], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert len(run.stdout.splitlines()) == 3
    rows = json.loads(out.read_text())["rows"]
    assert [(row["frames"], row["mode"]) for row in rows] == [(3, "recompute"), (3, "keep")]
    assert all(row["ms"] > 0 for row in rows)
