"""Masks at points: sampling, and the choice of uncertain points (PointRend).

Points are (x, y) in 0..1 of the map's width and height, so maps of different resolution can
be compared at the same points.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def sample_points(maps: Tensor, points: Tensor) -> Tensor:
    """Reads maps at points, bilinearly, with zeros outside.

    Args:
        maps: (N, h, w) logits or masks, of any dtype.
        points: (N, P, 2), or (1, P, 2) for points that all maps share (cheaper).

    Returns:
        (N, P) in the wider of both dtypes.

    Raises:
        ValueError: as many point sets as maps, or one, are needed.
    """
    if points.dim() != 3 or points.shape[0] not in (1, maps.shape[0]):
        raise ValueError(f"points {tuple(points.shape)} do not fit maps {tuple(maps.shape)}")
    dtype = torch.promote_types(maps.dtype, points.dtype)
    maps, grid = maps.to(dtype), (2 * points.to(dtype)).sub_(1)[:, None]
    if points.shape[0] == 1:  # one image of N channels
        return F.grid_sample(maps[None], grid, align_corners=False)[0, :, 0]
    return F.grid_sample(maps[:, None], grid, align_corners=False)[:, 0, 0]


def uncertain_points(
    logits: Tensor,
    num_points: int,
    *,
    oversample_ratio: float = 3.0,
    importance_ratio: float = 0.75,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draws points for a mask loss, most of them where the mask is undecided.

    Args:
        logits: (N, h, w) predicted masks; no gradient is taken.
        num_points: P.
        oversample_ratio: candidates drawn for every point, at least 1.
        importance_ratio: share of the points that are the most uncertain candidates, 0..1;
            the others are uniform.
        generator: source of randomness on the device of `logits`.

    Returns:
        (N, P, 2) in 0..1, float32 at least.

    Raises:
        ValueError: a ratio is out of its range.
    """
    if oversample_ratio < 1 or not 0 <= importance_ratio <= 1:
        raise ValueError(
            f"oversample_ratio {oversample_ratio} must be >= 1 and "
            f"importance_ratio {importance_ratio} within 0..1"
        )
    maps, dtype = logits.shape[0], torch.promote_types(logits.dtype, torch.float32)
    options = {"generator": generator, "device": logits.device, "dtype": dtype}
    num_uncertain = int(importance_ratio * num_points)
    candidates = torch.rand(maps, int(oversample_ratio * num_points), 2, **options)
    with torch.no_grad():
        certainty = sample_points(logits, candidates).abs()
    chosen = certainty.topk(num_uncertain, dim=1, largest=False, sorted=False).indices
    uniform = torch.rand(maps, num_points - num_uncertain, 2, **options)
    uncertain = candidates.gather(1, chosen[..., None].expand(-1, -1, 2))
    return torch.cat([uncertain, uniform], dim=1)
