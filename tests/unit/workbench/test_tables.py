from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dvis_daq.workbench.ablations import Row, Table, as_markdown, read_tables, results
from dvis_daq.workbench.manifest import manifest
from dvis_daq.workbench.runs import ROOT
from dvis_daq.workbench.tables import cell, difference, figures_of


def scores(ap: float, ghosts: float | None = 0.25) -> dict[str, Any]:
    """What tools/eval.py --events writes, as far as it is read."""
    events = {
        "ap": {"ed": {"AP": 0.1}},
        "presence": {"emergence_recall": 0.5, "ghost_rate": ghosts},
    }
    return {"AP": ap, "AP50": 0.6, "events": events}


def test_mean_and_spread_in_percent():
    found = figures_of([scores(0.30), scores(0.32), scores(0.34)])
    assert found["AP"]["mean"] == pytest.approx(32)
    assert found["AP"]["std"] == pytest.approx(2)  # of the sample
    assert found["ghost rate"] == {"mean": 25, "std": 0, "values": [25, 25, 25]}
    assert cell(found["AP"]) == "32.0 ± 2.0"
    assert cell(figures_of([scores(0.3)])["AP"]) == "30.0"


def test_a_figure_that_one_seed_lacks_is_no_figure():
    found = figures_of([scores(0.3, None), scores(0.3)])
    assert found["ghost rate"] == {"mean": None, "std": None, "values": None}
    assert cell(found["ghost rate"]) == "-"
    assert difference(found["ghost rate"], found["AP"])["mean"] is None


def test_differences_are_those_of_each_seed():
    """Two rows that move together differ by a constant, whatever their spread."""
    above = figures_of([scores(0.2), scores(0.4)])["AP"]
    row = figures_of([scores(0.21), scores(0.41)])["AP"]
    step = difference(row, above)
    assert step["mean"] == pytest.approx(1)
    assert step["std"] == pytest.approx(0, abs=1e-9)
    assert cell(step, signed=True) == "+1.0 ± 0.0"


def test_a_table_beside_the_paper():
    rows = (
        Row("first", Path("a.yaml"), {"AP": 35.4}),
        Row("second", Path("b.yaml"), {"AP": 33.3}),
        Row("third", Path("c.yaml"), {}),
    )
    table = Table("3x", "some", (), rows)
    runs = {(row.name, seed): scores(0.3 + 0.01 * i) for i, row in enumerate(rows) for seed in (0,)}
    found = results(table, runs, [0])
    assert found[1]["paper_difference"] == pytest.approx(-2.1)
    assert found[1]["difference"]["mean"] == pytest.approx(1)
    assert found[2]["paper_difference"] is None
    lines = as_markdown(found).splitlines()
    assert lines[2] == "| first | 30.0 | - | 60.0 | 10.0 | 50.0 | 25.0 | 35.4 | - |"
    assert lines[3] == "| second | 31.0 | +1.0 | 60.0 | 10.0 | 50.0 | 25.0 | 33.3 | -2.1 |"
    assert lines[4].endswith("| - | - |")
    assert [row.name for row in table.choose(["third", "first"]).rows] == ["first", "third"]
    with pytest.raises(ValueError, match="3x has no row 'fourth'"):
        table.choose(["fourth"])


def test_the_tables_of_the_paper():
    tables = read_tables(ROOT / "configs" / "ablations" / "tables.yaml")
    assert {"3a", "3b", "3c", "3d", "3e", "3f", "A4a", "A4c"} <= tables.keys()
    main = tables["3a"]
    assert [row.paper["AP"] for row in main.rows] == [35.4, 33.3, 32.3, 36.4, 36.6, 37.1]
    shared = [row.config for row in tables["3d"].rows if row.name == "Random"]
    assert shared == [main.rows[-1].config]  # one training serves both tables
    run = tables["A4c"].run(tables["A4c"].rows[0], 7, share=0.5, base_share=1.0)
    assert [(one.seed, one.share) for one in run.chain()] == [(7, 1.0), (7, 0.5), (7, 0.5)]
    assert run.start == main.run(main.rows[-1], 7, share=0.5, base_share=1.0)  # trained once
    assert [one.config.stem for one in run.chain()[:2]] == ["MinVIS", main.rows[-1].config.stem]


def test_a_configuration_that_is_not_there(tmp_path: Path) -> None:
    file = tmp_path / "tables.yaml"
    file.write_text("9x: {title: t, segmenter: none.yaml, rows: []}")
    with pytest.raises(ValueError, match=r"tables\.yaml: table 9x names none\.yaml"):
        read_tables(file)


def test_a_manifest_tells_how_to_repeat_it():
    facts = manifest(["3a", "--rows", "a b"])
    assert facts["command"].endswith("3a --rows 'a b'")
    assert facts["date"].endswith("UTC")
    assert facts["commit"]
