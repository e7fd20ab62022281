"""Overlays: what is asked for is drawn, where it belongs, in a colour that stays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from dvis_daq.visualization import PARTS, OverlayStyle, colour_of, draw_tracks

GREY = np.full((120, 160, 3), 90, dtype=np.uint8)


def box_mask(top: int, left: int, height: int = 30, width: int = 40) -> np.ndarray:
    mask = np.zeros(GREY.shape[:2], dtype=bool)
    mask[top : top + height, left : left + width] = True
    return mask


def draw(masks: Sequence[np.ndarray], ids: Sequence[int], **style: object) -> np.ndarray:
    return draw_tracks(
        GREY,
        masks=np.stack(masks),
        ids=ids,
        names=["disc"] * len(ids),
        scores=[0.5] * len(ids),
        style=OverlayStyle(**style),
    )


def test_masks_change_their_own_pixels_alone() -> None:
    mask = box_mask(40, 60)
    drawn = draw([mask], [3], parts=["masks"], opacity=0.5)
    expected = (np.array(colour_of(3)) + 90) / 2
    assert np.abs(drawn[mask] - expected).max() <= 1  # RGB, not BGR
    assert np.array_equal(drawn[~mask], GREY[~mask])
    assert (GREY == 90).all()


def test_colour_belongs_to_the_id() -> None:
    one = draw([box_mask(10, 10), box_mask(60, 60)], [7, 8], parts=["masks"])
    other = draw([box_mask(60, 60)], [7], parts=["masks"])
    assert np.array_equal(one[20, 20], other[70, 70])
    assert not np.array_equal(one[20, 20], one[70, 70])
    assert len({colour_of(track) for track in range(20)}) == 20


@pytest.mark.parametrize("part", PARTS)
def test_every_part_can_be_drawn_alone(part: str) -> None:
    changed = (draw([box_mask(50, 60)], [1], parts=[part]) != GREY).any(-1)
    inside = box_mask(52, 62, 26, 36)
    assert changed.any()
    assert changed[inside].any() == (part == "masks")


def test_text_grows_with_its_parts() -> None:
    def ink(parts: list[str]) -> int:
        return int((draw([box_mask(50, 20)], [1], parts=parts) != GREY).any(-1).sum())

    assert ink(["ids"]) < ink(["ids", "scores"]) < ink(["ids", "labels", "scores"])


@pytest.mark.parametrize("top, left", [(0, 0), (0, 120), (90, 120)])
def test_text_stays_inside_the_image(top: int, left: int) -> None:
    def ink(at: tuple[int, int]) -> int:
        return int((draw([box_mask(*at)], [1], parts=["labels"]) != GREY).any(-1).sum())

    assert ink((top, left)) == ink((50, 60))


@pytest.mark.parametrize("masks", [np.zeros((0, 120, 160), bool), np.zeros((2, 120, 160), bool)])
def test_nothing_to_draw(masks: np.ndarray) -> None:
    n = len(masks)
    drawn = draw_tracks(GREY, masks=masks, ids=range(n), names=["x"] * n, scores=[1.0] * n)
    assert np.array_equal(drawn, GREY) and drawn is not GREY


def test_small_frames_are_enlarged() -> None:
    drawn = draw([box_mask(40, 60)], [3], parts=["masks"], min_side=360)
    assert drawn.shape == (360, 480, 3)
    changed = (drawn != 90).any(-1)
    assert np.array_equal(changed, box_mask(40, 60).repeat(3, 0).repeat(3, 1))
    assert draw([box_mask(40, 60)], [3], min_side=100).shape == GREY.shape
    thin = np.zeros((8, 1000, 3), dtype=np.uint8)  # and not 240 x 30,000 pixels
    style = OverlayStyle(min_side=240)
    empty = {"masks": np.zeros((0, 8, 1000), dtype=bool), "ids": [], "names": [], "scores": []}
    assert draw_tracks(thin, **empty, style=style).shape == (16, 2000, 3)


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="cannot draw 'halo'; choose from masks"):
        OverlayStyle(parts=["halo"])
    good = {"masks": np.zeros((1, 120, 160), bool), "ids": [1], "names": ["x"], "scores": [1.0]}
    with pytest.raises(ValueError, match=r"\(1, 60, 160\).*\(120, 160, 3\)"):
        draw_tracks(GREY, **{**good, "masks": np.zeros((1, 60, 160), bool)})
    with pytest.raises(ValueError, match=r"1 masks.*\[1, 1, 2\]"):
        draw_tracks(GREY, **{**good, "scores": [1.0, 0.5]})
    with pytest.raises(ValueError, match="float64"):
        draw_tracks(GREY.astype(float), **good)
