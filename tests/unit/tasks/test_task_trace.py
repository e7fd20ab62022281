"""What is said of a frame for the diagnosis of missed emergences."""

import torch

from dvis_daq.structures import FrameSizes
from dvis_daq.tasks.trace import frame_trace
from dvis_daq.tasks.vis import decode


def test_newcomers_carry_the_rule_that_turned_them_away():
    sizes = FrameSizes((8, 8), (8, 8), (8, 8))
    masks = torch.full((3, 2, 2), -1.0)
    masks[0, 0, 0] = masks[1, 1, 1] = 1.0
    scores = torch.tensor([0.75, 0.5, 0.25])
    born = torch.tensor([True, False])
    line = frame_trace((masks, scores), (masks[1:], scores[1:]), born, sizes, rule="SCORE")
    assert [entry["score"] for entry in line["candidates"]] == [0.75, 0.5, 0.25]
    assert line["candidates"][2]["segmentation"] is None  # an empty mask
    assert [entry["removed_by"] for entry in line["newcomers"]] == [None, "SCORE"]
    shown = decode([line["candidates"][0]["segmentation"]], (8, 8))[0]
    assert shown[0, 0] and not shown[7, 7]
