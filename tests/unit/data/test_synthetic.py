"""The synthetic data set: same recipe, same bytes; exact masks; objects do what they are told."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as rle

from dvis_daq.data.synthetic import (
    CLASSES,
    Recipe,
    RecipeMismatchError,
    SyntheticVideo,
    make_video,
    write_dataset,
)
from dvis_daq.data.synthetic.instances import instance_annotations
from dvis_daq.data.synthetic.render import BAR_ID
from dvis_daq.data.synthetic.scripts import EVENTS, Bar, World, choose_script, make_path
from dvis_daq.data.synthetic.sprites import draw_sprite, make_sprite

SMALL = Recipe(height=48, width=64, frames=5, train=2, val=1)


def digest(folder: Path) -> dict[str, str]:
    """Hash of every file, by its name within the folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def write(recipe: Recipe, folder: Path, **options: bool) -> list[str]:
    return list(write_dataset(recipe, folder, **options))


# ---------------------------------------------------------------------- the same seed


def test_same_recipe_gives_same_bytes(tmp_path: Path) -> None:
    recipe = Recipe(height=48, width=64, frames=3, train=2, val=1, panoptic=True)
    write(recipe, tmp_path / "a")
    write(recipe, tmp_path / "b")
    first, second = digest(tmp_path / "a"), digest(tmp_path / "b")
    assert first == second
    assert {"train.json", "val.json", "recipe.json", "train/0001/00002.jpg"} <= first.keys()


def test_a_video_depends_on_seed_split_and_index_alone() -> None:
    alone = make_video(SMALL, "val", 3)
    make_video(SMALL, "train", 0)
    again = make_video(Recipe(**{**vars(SMALL), "train": 7, "val": 9}), "val", 3)
    assert np.array_equal(alone.frames, again.frames)
    assert np.array_equal(alone.id_map, again.id_map)
    for other in (
        make_video(SMALL, "val", 2),
        make_video(SMALL, "train", 3),
        make_video(Recipe(**{**vars(SMALL), "seed": 1}), "val", 3),
    ):
        assert not np.array_equal(alone.frames, other.frames)


def test_recipe_version_1_stays_what_it_is() -> None:
    """Fails when masks of the default recipe change: then raise `recipe.VERSION`."""
    video = make_video(Recipe(), "train", 0)
    assert video.scripts == ("stay", "pop_out", "pop_out")
    assert video.masks(24).sum((1, 2, 3)).tolist() == [1939, 3848, 1878]


# ---------------------------------------------------------------------- pixels


def test_shapes_types_and_id_map() -> None:
    video = make_video(SMALL, "train", 0)
    objects = len(video.labels)
    assert video.frames.shape == (5, 48, 64, 3) and video.frames.dtype == np.uint8
    assert video.id_map.shape == (5, 48, 64)
    assert SMALL.objects[0] <= objects <= SMALL.objects[1]
    assert set(np.unique(video.id_map)) <= {0, BAR_ID, *range(1, objects + 1)}
    assert (video.masks().sum((2, 3)) <= video.drawn).all()
    assert (video.masks().sum(0) <= 1).all()  # nothing is in two masks


def test_few_visible_pixels_count_as_absent() -> None:
    id_map = np.zeros((2, 10, 10), dtype=np.uint8)
    id_map[0, :4, :6] = 1
    id_map[1, :1, :23] = 1
    id_map[1, 1:3, :] = 1
    id_map[1, 2, 3:] = 0
    assert [(id_map[t] == 1).sum() for t in (0, 1)] == [24, 23]
    masks = still_video(id_map, drawn=[[24, 23]]).masks(min_visible=24)
    assert masks[0, 0].sum() == 24 and not masks[0, 1].any()


def test_masks_lie_on_the_sprites() -> None:
    """The pixels of an object differ from the background that the bare scene shows."""
    recipe = Recipe(bar_rate=0, event_rate=0, frames=1, objects=(1, 1))
    video = make_video(recipe, "train", 0)
    mask = cv2.erode(video.masks()[0, 0].astype(np.uint8), np.ones((3, 3))).astype(bool)
    rest = cv2.dilate(video.masks()[0, 0].astype(np.uint8), np.ones((5, 5))) == 0
    saturation = np.ptp(video.frames[0].astype(int), axis=-1)
    assert saturation[mask].mean() > 3 * saturation[rest].mean()


@pytest.mark.parametrize("label", range(len(CLASSES)))
def test_shapes_turn_about_their_centre(label: int) -> None:
    rng = np.random.default_rng(0)
    sprite = make_sprite(rng, radius=20.0, unit=1.0, hue_cue=True)._replace(label=label)
    centre = np.array([40.0, 30.0])
    areas = []
    for angle in (0.0, 0.7, 2.0):
        patch = draw_sprite(sprite, centre=centre, angle=angle, height=60, width=80)
        assert patch is not None
        rows, cols = np.nonzero(patch.mask)
        middle = np.array([cols.mean() + patch.window[1].start, rows.mean()])
        assert np.abs(middle - centre + [0, patch.window[0].start]).max() < 1.0
        areas.append(patch.mask.sum())
    assert max(areas) < 1.1 * min(areas)


def test_a_sprite_outside_the_image_is_not_drawn() -> None:
    sprite = make_sprite(np.random.default_rng(0), radius=8.0, unit=1.0, hue_cue=True)
    centre = np.array([-20.0, 10.0])
    assert draw_sprite(sprite, centre=centre, angle=0, height=32, width=32) is None


# ---------------------------------------------------------------------- scripts


@pytest.mark.parametrize("rate", [0.0, 0.95, 1.0])
def test_event_rate_is_the_share_of_objects_with_an_event(rate: float) -> None:
    rng = np.random.default_rng(0)
    drawn = [choose_script(rng, event_rate=rate, has_bar=True) for _ in range(2000)]
    share = 1 - drawn.count("stay") / len(drawn)
    assert share == pytest.approx(rate, abs=0.02)
    if rate == 1:
        assert set(drawn) == set(EVENTS)


def test_no_bar_no_hiding() -> None:
    rng = np.random.default_rng(0)
    drawn = {choose_script(rng, event_rate=1, has_bar=False) for _ in range(500)}
    assert drawn == set(EVENTS) - {"pop_out", "hide"}


def outside(path: np.ndarray, world: World, radius: float) -> np.ndarray:
    """(T,) bool, whether a disc is fully outside the image."""
    return ((path < -radius) | (path > world.size + radius)).any(-1)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(
    "script, first, last, changes",
    [
        ("stay", False, False, 0),
        ("enter", True, False, 1),
        ("leave", False, True, 1),
        ("pass_through", True, True, 2),
        ("leave_and_return", False, False, 2),
    ],
)
def test_border_scripts(script: str, first: bool, last: bool, changes: int, seed: int) -> None:
    world = World(np.array([128.0, 96.0]), 24, 1.0, 5, None)
    path = make_path(np.random.default_rng(seed), world, script=script, radius=14.0)
    away = outside(path, world, 14.0)
    assert path.shape == (24, 2)
    assert (away[0], away[-1], np.count_nonzero(np.diff(away))) == (first, last, changes)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("script", ["pop_out", "hide"])
def test_bar_scripts(script: str, seed: int) -> None:
    bar = Bar(axis=0, centre=60, width=34)
    world = World(np.array([128.0, 96.0]), 24, 1.0, 5, bar)
    path = make_path(np.random.default_rng(seed), world, script=script, radius=14.0)
    hidden = np.abs(path[:, 0] - bar.centre) + 14.0 <= bar.width / 2
    assert hidden.any() and not hidden.all()
    assert hidden[0] or script == "hide"
    assert not outside(path, world, 14.0).any()


@pytest.mark.parametrize("absence", [3, 9])
def test_absence_sets_how_long_objects_stay_away(absence: int) -> None:
    world = World(np.array([128.0, 96.0]), 30, 1.0, absence, None)
    gaps = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        path = make_path(rng, world, script="leave_and_return", radius=12)
        gaps.append(outside(path, world, 12).sum())
    assert np.mean(gaps) == pytest.approx(absence, abs=1.0)


def test_speed_multiplies_motion() -> None:
    def travelled(speed: float) -> float:
        world = World(np.array([1280.0, 960.0]), 12, speed, 3, None)
        paths = [
            make_path(np.random.default_rng(s), world, script="stay", radius=12) for s in range(20)
        ]
        return float(np.mean([np.linalg.norm(np.diff(p, axis=0), axis=1).sum() for p in paths]))

    assert travelled(2.0) > 1.6 * travelled(1.0)


# ---------------------------------------------------------------------- colours


def test_hue_tells_the_class_only_with_the_cue() -> None:
    def spread(hue_cue: bool) -> float:
        rng = np.random.default_rng(0)
        errors = []
        for _ in range(200):
            sprite = make_sprite(rng, radius=12, unit=1.0, hue_cue=hue_cue)
            rgb = sprite.colours[0][None, None] / 255
            hue = cv2.cvtColor(rgb.astype(np.float32), cv2.COLOR_RGB2HSV)[0, 0, 0] / 360
            distance = abs(hue - sprite.label / len(CLASSES))
            errors.append(min(distance, 1 - distance))
        return max(errors)

    assert spread(True) < 0.075
    assert spread(False) > 0.3


def test_look_alikes_wear_the_same_dress() -> None:
    recipe = Recipe(look_alikes=1.0, objects=(4, 4), frames=1)
    labels = make_video(recipe, "train", 0).labels
    assert len(labels) == 4 and len(set(labels.tolist())) == 1


# ---------------------------------------------------------------------- files


def still_video(id_map: np.ndarray, drawn: list[list[int]]) -> SyntheticVideo:
    frames = np.zeros((*id_map.shape, 3), dtype=np.uint8)
    labels = np.arange(len(drawn))
    return SyntheticVideo(frames, id_map, np.array(drawn), labels, ("stay",) * len(drawn))


def test_annotations_are_exact() -> None:
    video = make_video(Recipe(), "val", 0)
    rows = instance_annotations(video, min_visible=24, video_id=4, first_id=9)
    masks = [mask for mask in video.masks(24) if mask.any()]
    assert [row["id"] for row in rows] == list(range(9, 9 + len(masks)))
    for row, mask in zip(rows, masks, strict=True):
        assert row["video_id"] == 4
        for t in range(12):
            if not mask[t].any():
                assert row["segmentations"][t] is row["bboxes"][t] is row["areas"][t] is None
                assert row["occlusion"][t] is None
                continue
            assert np.array_equal(rle.decode(row["segmentations"][t]), mask[t])
            assert row["areas"][t] == mask[t].sum()
            assert tuple(row["bboxes"][t]) == cv2.boundingRect(mask[t].astype(np.uint8))


def test_videos_of_more_frames_than_pycocotools_counts() -> None:
    recipe = Recipe(frames=260, height=32, width=32, objects=(1, 1), event_rate=0.0, bar_rate=0.0)
    [row] = instance_annotations(
        make_video(recipe, "val", 0), min_visible=1, video_id=1, first_id=1
    )
    assert len(row["areas"]) == 260
    assert row["areas"][259] == rle.area(row["segmentations"][259])


def test_occlusion_levels_follow_the_visible_share() -> None:
    id_map = np.zeros((4, 10, 10), dtype=np.uint8)
    id_map[:, :4] = 1  # 40 px show
    drawn = [[40, 43, 79, 80]]
    (row,) = instance_annotations(
        still_video(id_map, drawn), min_visible=24, video_id=1, first_id=1
    )
    levels = ["no_occlusion", "slight_occlusion", "slight_occlusion", "severe_occlusion"]
    assert row["occlusion"] == levels


def test_an_object_that_never_shows_is_left_out() -> None:
    id_map = np.zeros((1, 10, 10), dtype=np.uint8)
    id_map[:, :4] = 2
    rows = instance_annotations(
        still_video(id_map, [[0], [40]]), min_visible=24, video_id=1, first_id=1
    )
    assert [(row["id"], row["category_id"]) for row in rows] == [(1, 2)]


def test_json_and_frames_agree(tmp_path: Path) -> None:
    assert write(SMALL, tmp_path) == ["train/0000", "train/0001", "val/0000"]
    data = json.loads((tmp_path / "train.json").read_text())
    assert [c["name"] for c in data["categories"]] == list(CLASSES)
    assert len({a["id"] for a in data["annotations"]}) == len(data["annotations"])
    for video in data["videos"]:
        assert len(video["file_names"]) == video["length"] == 5
        for name in video["file_names"]:
            assert cv2.imread(str(tmp_path / "train" / name)).shape == (48, 64, 3)
    written = cv2.imread(str(tmp_path / "train" / "0000" / "00000.jpg"))[..., ::-1]
    made = make_video(SMALL, "train", 0).frames[0]
    assert np.abs(written.astype(int) - made).mean() < 6  # JPEG loss, but RGB stays RGB


def test_panoptic_png_and_json_agree(tmp_path: Path) -> None:
    recipe = Recipe(frames=4, train=0, val=2, bar_rate=1.0, panoptic=True)
    write(recipe, tmp_path)
    data = json.loads((tmp_path / "panoptic_val.json").read_text())
    names = {c["id"]: c["name"] for c in data["categories"]}
    assert [c["isthing"] for c in data["categories"]] == [1, 1, 1, 1, 1, 0, 0]
    for video, rows in zip(data["videos"], data["annotations"], strict=True):
        kinds: dict[int, set[int]] = {}
        for image, row in zip(video["images"], rows["annotations"], strict=True):
            path = tmp_path / "panoptic_val" / video["video_id"] / row["file_name"]
            bgr = cv2.imread(str(path)).astype(int)
            ids = bgr[..., 2] + 256 * bgr[..., 1] + 65536 * bgr[..., 0]
            areas = {s["id"]: s["area"] for s in row["segments_info"]}
            assert areas == {int(k): int((ids == k).sum()) for k in np.unique(ids) if k}
            assert image["file_name"] == row["file_name"]
            for segment in row["segments_info"]:
                kinds.setdefault(segment["id"], set()).add(segment["category_id"])
        assert all(len(kind) == 1 for kind in kinds.values())  # a segment keeps its class
        assert {"background", "bar"} <= {names[kind.pop()] for kind in kinds.values()}


def test_complete_set_is_left_alone(tmp_path: Path) -> None:
    write(SMALL, tmp_path)
    before = (tmp_path / "train.json").stat().st_mtime_ns
    assert write(SMALL, tmp_path) == []
    assert (tmp_path / "train.json").stat().st_mtime_ns == before


def test_interrupted_set_is_made_again(tmp_path: Path) -> None:
    videos = write_dataset(SMALL, tmp_path / "a")
    next(videos)
    videos.close()
    write(SMALL, tmp_path / "a")
    write(SMALL, tmp_path / "b")
    assert digest(tmp_path / "a") == digest(tmp_path / "b")


def test_another_recipe_is_refused_unless_forced(tmp_path: Path) -> None:
    write(SMALL, tmp_path)
    other = Recipe(**{**vars(SMALL), "seed": 5})
    with pytest.raises(RecipeMismatchError, match="seed 0 -> 5.*--force"):
        write(other, tmp_path)
    assert len(write(other, tmp_path, force=True)) == 3


def test_foreign_files_are_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "precious").write_text("thesis")
    for force in (False, True):
        with pytest.raises(RecipeMismatchError, match="'train' but no recipe.json"):
            write(SMALL, tmp_path, force=force)
    assert (tmp_path / "train" / "precious").read_text() == "thesis"


@pytest.mark.parametrize(
    "option, value",
    [("height", 8), ("frames", 0), ("event_rate", 1.5), ("objects", (4, 2)), ("speed", 0)],
)
def test_a_bad_option_is_named(option: str, value: object) -> None:
    with pytest.raises(ValueError, match=option):
        Recipe(**{option: value})
