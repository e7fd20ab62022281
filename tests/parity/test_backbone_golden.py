"""Swin-L and the ViT-L adapter equal the released ones in float64.

Half a minute each on a quiet core, so not part of `make test`.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.parity.golden.backbones import backbone
from tests.parity.golden.cases import load_cases

TOLERANCE = 5e-6  # what a correct float64 build keeps


@pytest.mark.slow
@pytest.mark.parametrize("name", ["backbone_swin_l", "backbone_vit_adapter_l"])
def test_maps_equal_the_release(name: str, reference_dir: Path) -> None:
    case = next(case for case in load_cases(reference_dir) if case.name == name)
    ours = backbone(case, torch.float64)
    assert set(ours) == set(case.arrays)
    for array, expected in case.arrays.items():
        np.testing.assert_allclose(ours[array], expected, rtol=0, atol=TOLERANCE, err_msg=array)
