import json
from pathlib import Path

import pytest

from tests.tools.scripts import load_script

TEXT = "# Figures\n<!-- figures: begin -->\nold\n<!-- figures: end -->\nthe end\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    case = {"system": "float32", "frames": 2, "fps_p50": 1.0, "fps_p95": 0.5, "seconds": 3.0,
            "cpu_seconds": 4.0, "peak_mib": 99.0, "parts": {"segmenter": 1.0},
            "ratios": {"seconds": 2.5}}  # fmt: skip
    files = {
        "stream": {"machine": {"torch": "2.14"}, "cases": {"float32 2": case}},
        "labels": {"machine": {}, "settings": {"videos": 4}, "rows": {"STQ": {"seconds": 0.25}}},
        "model": {"rows": [{"part": "backbone", "limit_ms": 12.5}, {"part": "tracker 2"}]},
        "loader": {"machine": "x86", "torch": "2.14", "clip": {"ratio": 3.3, "ours": {"s": 1}}},
    }
    for name, content in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return tmp_path


def test_each_file_is_a_section_of_the_document(folder: Path):
    document = folder / "page.md"
    document.write_text(TEXT)
    load_script("benchmarks/report.py").main([str(folder), str(document)])
    text = document.read_text()
    assert text.startswith("# Figures\n<!-- figures: begin -->\n") and "old" not in text
    assert text.endswith("<!-- figures: end -->\nthe end\n")
    assert text.count("### ") == 4
    for piece in ("seconds 2.5x", "| STQ | 0.25 |", "| backbone | 12.5 |", "| tracker 2 |  |"):
        assert piece in text
    assert "| clip |  | 3.3 | 1 |" in text
    load_script("benchmarks/report.py").main([str(folder), str(document)])
    assert document.read_text() == text


@pytest.mark.parametrize("document", ["no marks", TEXT.replace("begin", "start"), 2 * TEXT])
def test_a_document_without_its_marks_stays_as_it_is(folder: Path, document: str, capsys):
    file = folder / "page.md"
    file.write_text(document)
    with pytest.raises(SystemExit):
        load_script("benchmarks/report.py").main([str(folder), str(file)])
    assert "needs one line" in capsys.readouterr().err
    assert file.read_text() == document


def test_no_figures_are_an_error(tmp_path: Path, capsys):
    with pytest.raises(SystemExit):
        load_script("benchmarks/report.py").main([str(tmp_path)])
    assert "has none of stream.json" in capsys.readouterr().err
