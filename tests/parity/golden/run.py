"""Which function makes the arrays of which case."""

from __future__ import annotations

from collections.abc import Callable

import torch

from tests.parity.golden.association import chains, contrastive_step
from tests.parity.golden.backbones import backbone
from tests.parity.golden.cases import Arrays, Case
from tests.parity.golden.compare import Verdict, compare, float64_tolerance
from tests.parity.golden.offline import in_our_order, offline, offline_step
from tests.parity.golden.online import in_score_order, online
from tests.parity.golden.post_processing import post_processing
from tests.parity.golden.referring import referring_online, referring_step
from tests.parity.golden.referring_offline import referring_offline, referring_offline_step
from tests.parity.golden.segmenter import segmenter
from tests.parity.golden.training import frame_step, online_step
from tests.parity.golden.units import units
from tests.parity.golden.units_baselines import units_baselines
from tests.parity.golden.units_genvis import units_genvis
from tests.parity.golden.units_tracker import identical_tracks_as_sets

Producer = Callable[[Case, torch.dtype], Arrays]

PRODUCERS: dict[str, Producer] = {
    "segmenter_r50": segmenter,
    "segmenter_r50_q100": segmenter,
    "units": units,
    "units_baselines": units_baselines,
    "units_genvis": units_genvis,
    "post_processing": post_processing,
    "backbone_swin_l": backbone,
    "backbone_vit_adapter_l": backbone,
    "online_ovis_r50": online,
    "online_ovis_r50_14f": online,
    "online_ytvis19_r50": online,
    "online_vipseg_r50": online,
    "online_vipseg_r50_vss": online,
    "offline_ovis_r50": offline,
    "offline_ovis_r50_local": offline,
    "train_offline_early": offline_step,
    "train_offline_late": offline_step,
    "train_stage2_2f": online_step,
    "train_stage2_5f": online_step,
    "train_stage3_5f": online_step,
    "train_stage3_5f_low": online_step,
    "train_minvis": frame_step,
    "train_ctvis": contrastive_step,
    "minvis_ovis_r50": chains,
    "ctvis_ovis_r50": chains,
    "dvis_plus_online_ovis_r50": referring_online,
    "train_dvis_plus_online_early": referring_step,
    "train_dvis_plus_online_late": referring_step,
    "train_dvis_plus_online_noise": referring_step,
    "dvis_plus_offline_ovis_r50": referring_offline,
    "train_dvis_plus_offline_early": referring_offline_step,
    "train_dvis_plus_offline_late": referring_offline_step,
    "train_dvis_plus_offline_memory": referring_offline_step,
}


# Where the release's order is not specified: puts the recorded rows in the order of ours.
ALIGNMENTS: dict[Producer, Callable[[Arrays, Arrays], Arrays]] = {
    offline: in_our_order,
    offline_step: in_our_order,
    units: identical_tracks_as_sets,
}


def verdicts(case: Case, dtype: torch.dtype) -> list[Verdict]:
    """One verdict for each recorded array."""
    producer = PRODUCERS[case.name]
    ours, recorded = in_score_order(producer(case, dtype)), case.arrays
    if producer in ALIGNMENTS:
        recorded = ALIGNMENTS[producer](recorded, ours)
    double = dtype == torch.float64
    return [
        compare(
            name,
            ours.get(name),
            golden,
            tolerance=float64_tolerance(case.name, name) if double else None,
        )
        for name, golden in in_score_order(recorded).items()
    ]
