"""Which function makes the arrays of which case."""

from __future__ import annotations

from collections.abc import Callable

import torch

from tests.parity.golden.cases import Arrays, Case
from tests.parity.golden.compare import Verdict, compare
from tests.parity.golden.offline import in_our_order, offline, offline_step
from tests.parity.golden.online import in_score_order, online
from tests.parity.golden.training import frame_step, online_step

Producer = Callable[[Case, torch.dtype], Arrays]

PRODUCERS: dict[str, Producer] = {
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
}


def verdicts(case: Case, dtype: torch.dtype) -> list[Verdict]:
    """One verdict for each recorded array."""
    double = dtype == torch.float64
    ours = in_score_order(PRODUCERS[case.name](case, dtype))
    recorded = in_score_order(in_our_order(case.arrays, ours))
    return [
        compare(name, ours.get(name), golden, double=double) for name, golden in recorded.items()
    ]
