"""The Triton kernel against plain PyTorch, on the CPU by Triton's interpreter, or on a GPU.

TRITON_INTERPRET=1 python -m tests.unit.layers.triton_check cpu
"""

import sys

import torch

from dvis_daq.layers.deformable_attention import sample_by_grid
from dvis_daq.layers.deformable_triton import sample_by_triton

SIZES = [(2, 3), (5, 4)]
TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 5e-2, torch.float16: 1e-2}


def inputs(device: str, width: int, queries: int, dtype: torch.dtype) -> list:
    """Value, sizes, places (many outside, some on the border and on pixels), weights."""
    generator = torch.Generator().manual_seed(0)
    value = torch.randn(2, 26, 2, width, generator=generator, dtype=dtype)
    places = torch.rand(2, 2, 2, 3, 2, queries, generator=generator, dtype=dtype) * 9 - 2.5
    weights = torch.rand(2, 2, 2, 3, queries, generator=generator, dtype=dtype)
    places[0, 0, 0, 0, :, :3] = torch.tensor([[-0.5, 1e6, 1.0], [-0.5, -1e6, 1.0]])
    return [x if isinstance(x, list) else x.to(device) for x in (value, SIZES, places, weights)]


def gradients(sampler, value, sizes, places, weights) -> list[torch.Tensor]:
    leaves = [x.detach().clone().requires_grad_() for x in (value, places, weights)]
    out = sampler(leaves[0], sizes, *leaves[1:])
    out.float().square().sum().backward()
    return [out, *(leaf.grad for leaf in leaves)]


def main(device: str) -> None:
    for dtype, tolerance in TOLERANCES.items():  # a width that is no power of 2; two blocks
        value, *others = inputs(device, 6, 67, torch.float32)
        expected = gradients(sample_by_grid, value.to(dtype).float(), *others)
        found = gradients(sample_by_triton, value.to(dtype), *others)
        for mine, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(mine.float(), theirs, atol=tolerance, rtol=tolerance)
    value, sizes, places, weights = inputs(device, 2, 3, torch.float64)
    places[0, 0, 0, 0, :, 2] += 0.1  # on a pixel there is no slope
    leaves = [x[:1].detach().clone().requires_grad_() for x in (value, places, weights)]
    slopes = {"fast_mode": True}  # along random directions; the interpreter is slow
    torch.autograd.gradcheck(lambda v, p, w: sample_by_triton(v, sizes, p, w), leaves, **slopes)
    print("equal")


if __name__ == "__main__":
    main(sys.argv[1])
