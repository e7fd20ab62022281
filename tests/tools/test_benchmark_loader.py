import json

import pytest

from tests.tools.scripts import load_script


def test_both_mappers_make_the_same_clips(tmp_path, capsys):
    out = tmp_path / "loader.json"
    made = ["--videos", "1", "--frames", "8", "--objects", "2", "--size", "240"]
    options = ["--clips", "4", "--memory-clips", "8", "--output", str(out)]
    load_script("benchmarks/loader.py").main([*made, *options])
    figures = json.loads(out.read_text())
    assert json.loads(capsys.readouterr().out) == figures
    for kind in ("clip", "still"):
        assert figures[kind]["ratio"] > 0
        assert figures[kind]["mean_pixel_difference"] < 3  # one resampling or two
        assert figures[kind]["mask_area_difference"] < 0.03
    assert figures["memory"]["clips"] == 8
    assert figures["memory"]["processes"] >= 4  # two workers for each of two sources
    assert figures["memory"]["private_at_end_mib"] > 0


def test_bad_arguments(capsys):
    with pytest.raises(SystemExit):
        load_script("benchmarks/loader.py").main(["--json", "x.json"])
    assert "--json and --images belong together" in capsys.readouterr().err
