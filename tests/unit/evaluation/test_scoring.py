import json
import logging
from pathlib import Path

import pytest

from dvis_daq.evaluation.report import table, write_json
from dvis_daq.evaluation.scoring import score
from dvis_daq.metrics.reading import parse_ground_truth, parse_results
from tests.unit.metrics.scene import A, B, annotations, results

LATE = [None, None, A, A]


def test_what_was_asked_is_in_the_figures() -> None:
    truth = parse_ground_truth(annotations({"boxes": LATE}, length=4, videos=2))
    found = parse_results(results({"boxes": LATE}, {"boxes": LATE, "video_id": 2}), truth)
    plain = score(truth, found)
    assert plain["AP"] == pytest.approx(1)
    assert plain["counts"] == {"videos": 2, "objects": 1, "crowd": 0, "predictions": 2}
    assert plain["per_class"]["1"]["name"] == "cat"
    assert not {"events", "long", "missed_emergences", "AP_heavy"} & plain.keys()
    more = score(truth, found, events=True, long_videos=[1])
    assert more["events"]["presence"]["emergence_recall"] == 1
    assert more["long"]["AP"] == pytest.approx(1)
    assert more["short"]["AP"] is None
    assert more["AP_split"] is None


def test_missed_emergences_are_explained() -> None:
    truth = parse_ground_truth(annotations({"boxes": LATE}, length=4))
    found = parse_results(results({"boxes": LATE}), truth)
    assert score(truth, found, trace={})["missed_emergences"] == []
    empty = {"candidates": [], "newcomers": []}
    (missed,) = score(truth, [], trace={(1, 2): empty, (1, 3): empty})["missed_emergences"]
    assert missed["verdict"] == "no_candidate"


def test_areas_of_boxes_are_noticed(caplog: pytest.LogCaptureFixture) -> None:
    tracks = [{"boxes": [A], "areas": [16]}, {"boxes": [B], "areas": [40.0]}]
    truth = parse_ground_truth(annotations(*tracks, length=1), "gt.json")
    with caplog.at_level(logging.WARNING):
        score(truth, [])
    assert "gt.json: the areas of 1 of 2 annotations" in caplog.text
    assert "id 2" in caplog.text


def test_fitting_areas_are_not_mentioned(caplog: pytest.LogCaptureFixture) -> None:
    truth = parse_ground_truth(annotations({"boxes": [A], "areas": [16]}, length=1))
    score(truth, [])
    assert caplog.text == ""


def test_unknown_long_video() -> None:
    truth = parse_ground_truth(annotations({"boxes": [A]}, length=1))
    with pytest.raises(ValueError, match=r"no videos with the ids \[4\]"):
        score(truth, [], long_videos=[4])


def test_events_of_a_data_set_without_events() -> None:
    truth = parse_ground_truth(annotations({"boxes": [A]}, length=1, videos=2))
    figures = score(truth, [], events=True)
    assert figures["events"]["ap"]["ed"]["AP"] is None
    assert figures["events"]["ap_videos"]["0.4"]["video_ids"] == []
    assert "AP^ed" in table(figures)


def test_table_and_json(tmp_path: Path) -> None:
    tracks = [{"boxes": LATE, "occlusion": [None, None, "no_occlusion", "no_occlusion"]}]
    truth = parse_ground_truth(annotations(*tracks, length=4, videos=2))
    empty = {"candidates": [], "newcomers": []}
    figures = score(truth, [], long_videos=[1], trace={(1, 2): empty, (1, 3): empty})
    text = table(figures)
    for part in ("1 objects", "AP_heavy", "AP_split", "cat (1)", "ghost frames", "no_candidate"):
        assert part in text
    assert max(map(len, text.splitlines())) <= 100
    write_json(figures, tmp_path / "new" / "out.json")
    assert json.loads((tmp_path / "new" / "out.json").read_text()) == figures
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out.json"]
