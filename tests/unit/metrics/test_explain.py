import json
from pathlib import Path
from typing import Any

import pytest

from dvis_daq.metrics.explain import explain, read_trace
from dvis_daq.metrics.presence import Presence
from tests.unit.metrics.scene import A_HALF, A_THIRD, A, B, rle, scene

LATE = [None, A, A, A]  # the frames in question are 1 and 2


def line(frame: int, candidates: list, newcomers: list) -> dict[str, Any]:
    """Boxes of candidates, (box, removed_by) of newcomers."""
    return {
        "video_id": 1,
        "frame": frame,
        "candidates": [{"segmentation": rle(box), "score": 0.5} for box in candidates],
        "newcomers": [
            {"segmentation": rle(box), "score": 0.5, "removed_by": rule} for box, rule in newcomers
        ],
    }


def verdict(*lines: dict[str, Any]) -> tuple[str, str | None]:
    truth, overlap = scene([LATE], [(0.9, [B, B, B, B])])
    presence = Presence()
    presence.add(overlap)
    trace = {(1, n): line(n, [], []) for n in range(4)}
    trace |= {(one["video_id"], one["frame"]): one for one in lines}
    (row,) = explain(presence.missed, truth, trace)
    assert (row["video_id"], row["object_id"], row["category_id"], row["frame"]) == (1, 1, 1, 1)
    return row["verdict"], row["rule"]


@pytest.mark.parametrize(
    ("candidates", "newcomers", "expected"),
    [
        ([], [], ("no_candidate", None)),
        ([A_THIRD, B, None], [(B, None)], ("no_candidate", None)),
        ([A_HALF], [(A_THIRD, None), (None, None)], ("not_taken", None)),
        ([A], [(A, "score"), (B, None)], ("removed", "score")),
        ([A], [(A_HALF, "first_score"), (A, "score")], ("removed", "score")),
        ([A], [(A, "score"), (A_HALF, None)], ("accepted", None)),
    ],
)
def test_verdicts(candidates: list, newcomers: list, expected: tuple[str, str | None]) -> None:
    assert verdict(line(1, candidates, newcomers)) == expected
    assert verdict(line(2, candidates, newcomers)) == expected  # the next frame counts as well


def test_other_frames_do_not_count() -> None:
    assert verdict(line(3, [A], [(A, "score")]), line(0, [A], [])) == ("no_candidate", None)


def test_a_trace_must_have_the_frames() -> None:
    truth, overlap = scene([LATE], [])
    presence = Presence()
    presence.add(overlap)
    with pytest.raises(ValueError, match="no frame 1 of video 1"):
        explain(presence.missed, truth, {})


def test_reading(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    lines = [line(0, [A], []), line(1, [], [(B, "score")])]
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    assert read_trace(path) == {(1, 0): lines[0], (1, 1): lines[1]}


@pytest.mark.parametrize("text", ['{"video_id": 1}\n', "{", "[]\n"])
def test_bad_lines_are_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text(json.dumps(line(0, [], [])) + "\n" + text)
    with pytest.raises(ValueError, match=r"trace\.jsonl, line 2"):
        read_trace(path)
