"""Streams of panoptic and semantic models, and who came and went."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dvis_daq.streaming.masks import MapMasks
from dvis_daq.streaming.rows import Events, FrameRows, events_of
from dvis_daq.streaming.state import Roster
from tests.unit.streaming.tiny import tiny_frames, tiny_predictor

FRAMES = tiny_frames()
VPS = ("MODEL.TASK", "vps", "MODEL.MASK_FORMER.TEST.OBJECT_MASK_THRESHOLD", "0.1",
       "MODEL.MASK_FORMER.TEST.OVERLAP_THRESHOLD", "0.1")  # fmt: skip


@pytest.mark.parametrize("recipe", ["DVIS_online", "DVIS_DAQ_online", "DVIS_DAQ_offline"])
def test_segments_share_the_pixels_and_keep_their_ids(recipe: str) -> None:
    predictor = tiny_predictor(recipe, *VPS)
    results = list(predictor.stream(FRAMES))
    assert any(len(result) for result in results)
    for result in results:
        assert result.masks.sum(0).max(initial=0) <= 1
        assert result.masks.any((1, 2)).all()
        stuff = result.labels >= 2
        assert (result.ids[stuff] == -1 - result.labels[stuff]).all()
        assert (result.ids[~stuff] >= 0).all() and len(set(result.ids.tolist())) == len(result)
        covered = result.masks.any(0) if len(result) else np.zeros(result.size, bool)
        assert ((result.class_map >= 0) == covered).all()


@pytest.mark.parametrize("recipe", ["MinVIS", "DVIS_DAQ_online"])
def test_classes_of_the_last_frame_are_those_of_the_whole_video(recipe: str) -> None:
    predictor = tiny_predictor(recipe, "MODEL.TASK", "vss")
    *_, last = predictor.stream(FRAMES)
    whole = predictor(FRAMES)["semantic"][-1].numpy()
    assert (last.class_map == whole).all()
    assert last.ids.tolist() == last.labels.tolist() == np.unique(whole).tolist()


def test_panoptic_of_a_video_of_one_frame() -> None:
    predictor = tiny_predictor("DVIS_online", *VPS)
    (result,) = predictor.stream(FRAMES[:1])
    whole = predictor(FRAMES[:1])
    class_of = {segment["id"]: segment["category_id"] for segment in whole["segments"]}
    expected = np.vectorize(lambda value: class_of.get(value, -1))(whole["panoptic"][0].numpy())
    assert (result.class_map == expected).all() and (expected >= 0).any()


def rows(ids: list[int], visible: list[bool]) -> FrameRows:
    n = len(ids)
    return FrameRows(
        ids=torch.tensor(ids, dtype=torch.int64),
        labels=torch.zeros(n, dtype=torch.int64),
        scores=torch.ones(n),
        frame_scores=torch.ones(n),
        visible=torch.tensor(visible, dtype=torch.bool),
        masks=MapMasks(torch.zeros(1, 1), n),
    )


def test_events() -> None:
    roster = Roster()
    history = [  # rows, who lives, expected
        (rows([0, 2], [True, False]), [0, 1, 2], Events((0, 2), (), ())),
        (rows([0, 2], [True, True]), [0, 1, 2], Events((), (2,), ())),
        (rows([0], [False]), [0, 1, 2], Events((), (), ())),  # 2 is not shown, but lives
        (rows([-3, 1, 2], [True, True, True]), [1, 2], Events((-3, 1), (2,), (0,))),
        (rows([1], [True]), [1], Events((), (), (2,))),  # stuff never departs
        (rows([-3], [True]), [], Events((), (-3,), (1,))),
    ]
    for shown, living, expected in history:
        events, roster = events_of(roster, shown, torch.tensor(living, dtype=torch.int64))
        assert events == expected
    assert roster == Roster((-3,), (-3,))
