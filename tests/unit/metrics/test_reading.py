import json
from pathlib import Path
from typing import Any

import pytest

from dvis_daq.metrics.reading import (
    has_annotations,
    parse_ground_truth,
    parse_results,
    read_ground_truth,
    read_ids,
    read_results,
)
from tests.unit.metrics.scene import A, B, annotations, results, rle


def ground_truth() -> dict[str, Any]:
    return annotations({"boxes": [A, None, B]}, {"boxes": [B, B, B]}, length=3)


def written(folder: Path, name: str, content: object) -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_reads_what_is_there(tmp_path: Path) -> None:
    truth = read_ground_truth(written(tmp_path, "gt.json", ground_truth()))
    assert list(truth.videos) == [1]
    assert truth.videos[1].size == (12, 16)
    assert truth.categories == {1: "cat", 2: "dog"}
    assert [track.masks[1] is None for track in truth.tracks] == [True, False]
    path = written(tmp_path, "results.json", results({"boxes": [A, None, B], "score": 0.25}))
    (found,) = read_results(path, truth)
    assert (found.index, found.score, found.masks[1]) == (0, 0.25, None)
    assert found.masks == truth.tracks[0].masks


@pytest.mark.parametrize("text", ["[]", " [ ]\n", "[\n\n]"])
def test_no_results_are_results(tmp_path: Path, text: str) -> None:
    truth = parse_ground_truth(ground_truth())
    assert read_results(written(tmp_path, "results.json", text), truth) == []


def test_layout_of_the_json_does_not_matter(tmp_path: Path) -> None:
    truth = parse_ground_truth(ground_truth())
    entries = results({"boxes": [A, A, A]}, {"boxes": [B, B, B]}, {"boxes": [None] * 3})
    for layout in ({"indent": 2}, {"separators": (",", ":")}):
        path = written(tmp_path, "results.json", json.dumps(entries, **layout))  # type: ignore[arg-type]
        assert read_results(path, truth) == parse_results(entries, truth)


@pytest.mark.parametrize("chunk", [1, 7, 200])
def test_entries_may_lie_across_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr("dvis_daq.metrics.reading._CHUNK", chunk)
    truth = parse_ground_truth(ground_truth())
    entries = results({"boxes": [A, A, A]}, {"boxes": [B, B, B]})
    path = written(tmp_path, "results.json", json.dumps(entries, indent=1) + "\n")
    assert read_results(path, truth) == parse_results(entries, truth)


@pytest.mark.parametrize("annotation", [None, [], "missing"])
def test_without_labels_there_is_nothing_to_score(tmp_path: Path, annotation: object) -> None:
    data = {**ground_truth(), "annotations": annotation}
    if annotation == "missing":
        del data["annotations"]
    path = written(tmp_path, "gt.json", data)
    assert not has_annotations(path)
    with pytest.raises(ValueError, match=r"gt\.json has no annotations.*server"):
        read_ground_truth(path)


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (("annotations", 1, "id"), 1, r"annotations\[1\] repeats the id 1"),
        (("annotations", 1, "video_id"), 7, r"annotations\[1\] has the video_id 7"),
        (("annotations", 1, "category_id"), 7, r"annotations\[1\] has the category_id 7"),
        (("annotations", 0, "segmentations"), [None], "1 segmentations, video 1 has 3 frames"),
        (("annotations", 0, "segmentations"), None, "no segmentations"),
        (("annotations", 0, "areas"), [1.0], "one entry of 'areas' for each of the 3 frames"),
        (("annotations", 0, "occlusion"), ["some"], r"occlusion \['some'\]"),
        (("videos", 0, "length"), None, r"videos\[0\] needs an integer 'length'"),
        (("categories", 1, "id"), 1, r"categories\[1\] repeats the id 1"),
    ],
)
def test_bad_ground_truth(where: tuple[str, int, str], value: object, message: str) -> None:
    data = ground_truth()
    data[where[0]][where[1]][where[2]] = value
    with pytest.raises(ValueError, match=message):
        parse_ground_truth(data, "gt.json")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("score", float("nan"), "score nan; scores must be finite"),
        ("score", float("inf"), "finite"),
        ("score", None, "finite"),
        ("score", "0.5", "finite"),
        ("video_id", 7, r"video_id 7, which gt\.json does not have"),
        ("video_id", "1", "integer 'video_id'"),
        ("category_id", 0, r"category_id 0, .*\(1\.\.2\)"),
        ("segmentations", [None, None], "2 segmentations, video 1 has 3 frames"),
        (
            "segmentations",
            [rle(A, (16, 12))] * 3,
            r"frame 0 of video 1: the RLE has size \(16, 12\)",
        ),
    ],
)
def test_bad_results(tmp_path: Path, key: str, value: object, message: str) -> None:
    truth = parse_ground_truth(ground_truth(), "gt.json")
    entries = results({"boxes": [A, A, A]}, {"boxes": [B, B, B]})
    entries[1][key] = value
    with pytest.raises(ValueError, match=message) as error:
        read_results(written(tmp_path, "results.json", entries), truth)
    assert "results.json: entries[1]" in str(error.value)


def test_masks_encoded_for_another_size_do_not_hang(tmp_path: Path) -> None:
    truth = parse_ground_truth(ground_truth())
    entries = results({"boxes": [A, A, A]})
    entries[0]["segmentations"][2]["counts"] = rle(A, (12, 18))["counts"]  # type: ignore[index]
    with pytest.raises(ValueError, match=r"entries\[0\], frame 2 .* covers 216 pixels.* 192"):
        parse_results(entries, truth)
    data = ground_truth()
    data["annotations"][1]["segmentations"][0]["counts"] = rle(A, (12, 18))["counts"]  # type: ignore[index]
    with pytest.raises(ValueError, match=r"annotations\[1\], frame 0"):
        parse_ground_truth(data)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1}', "a json list"),
        ("", "a json list"),
        ('[{"video_id": 1, "sc', r"cut off or no json, entries\[0\]"),
        ("[", r"entries\[0\]"),
    ],
)
def test_broken_results_file(tmp_path: Path, text: str, message: str) -> None:
    truth = parse_ground_truth(ground_truth())
    with pytest.raises(ValueError, match=message):
        read_results(written(tmp_path, "results.json", text), truth)


def test_broken_ground_truth_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"gt\.json is not a json file"):
        read_ground_truth(written(tmp_path, "gt.json", '{"videos": ['))


def test_area_is_the_mean_of_what_is_neither_null_nor_zero() -> None:
    data = ground_truth()
    data["annotations"][0]["areas"] = [10, None, 0]
    data["annotations"][1]["areas"] = [None, None, None]
    first, second = parse_ground_truth(data).tracks
    assert (first.area, second.area) == (10, 0)


def test_occlusion_is_the_mean_of_the_more_occluded_half() -> None:
    data = ground_truth()
    none, slight, severe = "no_occlusion", "slight_occlusion", "severe_occlusion"
    data["annotations"][0]["occlusion"] = [severe, None, none]  # ceil(2 / 2) = 1 -> 0.75
    data["annotations"][1]["occlusion"] = [none, slight, severe]  # ceil(3 / 2) = 2 -> 0.5
    first, second = parse_ground_truth(data).tracks
    assert (first.occlusion, second.occlusion) == (0.75, 0.5)


def test_restrict() -> None:
    data = annotations({"boxes": [A]}, {"boxes": [B], "video_id": 2}, length=1, videos=2)
    truth = parse_ground_truth(data)
    assert [track.id for track in truth.restrict([2]).tracks] == [2]
    with pytest.raises(ValueError, match=r"no videos with the ids \[3\]"):
        truth.restrict([1, 3])
    with pytest.raises(ValueError, match="at least one"):
        truth.restrict([])


@pytest.mark.parametrize("text", ["3,17, 20", "[3, 17, 20]", "3\n17\n20\n"])
def test_ids(tmp_path: Path, text: str) -> None:
    assert read_ids(text) == ["3", "17", "20"]
    assert read_ids(str(written(tmp_path, "ids.txt", text))) == ["3", "17", "20"]


def test_names(tmp_path: Path) -> None:
    names = ["0_clip611", "12-a"]
    assert read_ids("0_clip611, 12-a") == names
    assert read_ids(str(written(tmp_path, "names.json", json.dumps(names)))) == names


def test_videos_are_read_without_labels() -> None:
    data = annotations(length=2) | {"annotations": None}
    assert parse_ground_truth(data, labelled=False).tracks == ()
