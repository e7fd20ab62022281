"""Counts, and which objects come and go."""

import numpy as np

from dvis_daq.data.annotations import read_instances
from dvis_daq.data.contact_sheet import CAPTION, contact_sheet, spread
from dvis_daq.data.stats import events, statistics
from tests.unit.data.tiny_vis import tiny_content, write_tiny


def test_events():
    visible = np.array(
        [
            [1, 1, 1, 1],
            [0, 1, 1, 1],
            [1, 1, 0, 0],
            [1, 0, 1, 1],
            [0, 1, 0, 1],
            [0, 1, 0, 0],
        ],
        dtype=bool,
    )
    expected = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 0]]
    assert events(visible).astype(int).tolist() == expected
    assert events(np.zeros((0, 4), bool)).shape == (0, 3)


def test_statistics(tmp_path):
    figures = statistics(*read_instances(*write_tiny(tmp_path)))
    assert (figures["videos"], figures["frames"], figures["tracks"]) == (2, 10, 3)
    assert figures["masks"] == 3 + 4 + 5
    assert figures["events"] == {"emerge": 1, "disappear": 1, "reappear": 0, "any": 2}
    assert list(figures["classes"]) == ["dog", "cow", "cat"]
    assert figures["classes"]["cat"] == {
        "tracks": 1, "emerge": 1, "disappear": 0, "reappear": 0, "any": 1
    }  # fmt: skip
    assert figures["mask_area"]["min"] == 36
    assert figures["mask_area_ranges"] == {"small": 12, "medium": 0, "large": 0}
    assert figures["frame_sizes"] == {"24x32": 2}


def test_statistics_without_annotations(tmp_path):
    content = tiny_content()
    content["annotations"] = None
    figures = statistics(*read_instances(*write_tiny(tmp_path, content)))
    assert figures["tracks"] == 0
    assert figures["videos"] == 2


def test_the_synthetic_set_has_its_known_events(synthetic_bench):
    figures = statistics(*read_instances(synthetic_bench / "train.json", synthetic_bench / "train"))
    assert figures["tracks"] == 499
    assert figures["events"] == {"emerge": 151, "disappear": 100, "reappear": 73, "any": 272}


def test_contact_sheet(tmp_path):
    records, categories = read_instances(*write_tiny(tmp_path))
    sheet = contact_sheet(records, categories, columns=3, width=96)
    assert sheet.shape == (2 * (72 + CAPTION), 3 * 96, 3)
    assert sheet.dtype == np.uint8
    first, last = sheet[CAPTION : CAPTION + 72, :96], sheet[CAPTION : CAPTION + 72, 192:]
    assert first[70, 90, 0] == 0  # red says the frame: 0 and 4
    assert last[70, 90, 0] == 40
    inside = (slice(CAPTION + 3 * 12, CAPTION + 3 * 15), slice(192 + 3 * 7, 192 + 3 * 11))
    assert sheet[inside].std() < sheet[CAPTION : CAPTION + 72].std()


def test_spread():
    assert spread(10, 4) == [0, 3, 6, 9]
    assert spread(2, 5) == [0, 1]
    assert spread(1, 1) == [0]
