"""What the tasks make of the same tracks: `post_processing.npz`."""

from __future__ import annotations

import torch

from dvis_daq.structures import FrameSizes, VideoPrediction
from dvis_daq.tasks.vis import instances
from dvis_daq.tasks.vps import panoptic
from dvis_daq.tasks.vss import semantic
from tests.parity.golden.cases import Arrays, Case
from tests.parity.golden.online import result_of

SIZES = ("padded_size", "image_size", "output_size")


def post_processing(case: Case, dtype: torch.dtype) -> Arrays:
    logits, masks = case.tensor("logits", dtype), case.tensor("masks", dtype)
    prediction = VideoPrediction(torch.arange(len(logits)), logits, masks)
    sizes = FrameSizes(*(tuple(case.arrays[name].tolist()) for name in SIZES))
    vis = instances(prediction, sizes, max_instances=20)
    vps = panoptic(prediction, sizes, num_things=58, score_threshold=0.5, overlap_threshold=0.35)
    of_vis = result_of(vis, *sizes.output).items()
    return {
        **case.inputs("logits", "masks", *SIZES),
        **{name.replace("final_", "vis_"): value for name, value in of_vis},
        **{f"vps_{name}": value for name, value in result_of(vps, *sizes.output).items()},
        **result_of(semantic(prediction, sizes), *sizes.output),
    }
