"""Speed of the formulations of multi-scale deformable attention, forwards and with gradients.

    python benchmarks/deformable_attention.py                         # CPU, one thread
    python benchmarks/deformable_attention.py --device cuda --json out.json

`grid` and `bags` are the two that the package uses; `gather` reads the four corners by
indexing, the obvious third. `bags` has no gradient. All give the same numbers (the largest
difference is printed).
Times are the best of several runs, in milliseconds; on a CPU of the process's own time.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from torch import Tensor

from dvis_daq.layers.deformable_attention import (
    Sampler,
    Sizes,
    sample_by_bags,
    sample_by_grid,
)

HEADS, POINTS = 8, 4
# name: frames, levels, channels of a head
CASES: dict[str, tuple[int, list[tuple[int, int]], int]] = {
    "4 frames of 96x128, C 64": (4, [(3, 4), (6, 8), (12, 16)], 8),
    "1 frame of 360x640, C 256": (1, [(12, 20), (23, 40), (46, 80)], 32),
    "1 frame of 480x864, C 256": (1, [(15, 27), (30, 54), (60, 108)], 32),
}


def sample_by_gather(value: Tensor, sizes: Sizes, places: Tensor, weights: Tensor) -> Tensor:
    """Indexes the four corners of every point, level by level, then sums them up."""
    frames, _, heads, _ = value.shape
    frame = torch.arange(frames, device=value.device)[:, None, None, None]
    head = torch.arange(heads, device=value.device)[:, None, None]
    total = value.new_zeros(())
    maps = value.split([h * w for h, w in sizes], dim=1)
    for level, (h, w) in enumerate(sizes):
        x, y = places[:, :, level].unbind(-2)  # (T, heads, points, Q)
        for column in (x.floor(), x.floor() + 1):
            for row in (y.floor(), y.floor() + 1):
                inside = (column >= 0) & (column < w) & (row >= 0) & (row < h)
                share = (1 - (x - column).abs()) * (1 - (y - row).abs()) * inside
                index = (row.clamp(0, h - 1) * w + column.clamp(0, w - 1)).long()
                share = share * weights[:, :, level]
                read = maps[level][frame, index, head]  # (T, heads, points, Q, d)
                total = total + torch.einsum("tnpq,tnpqd->tqnd", share, read)
    return total.flatten(2)


def sample_by_kernel(value: Tensor, sizes: Sizes, places: Tensor, weights: Tensor) -> Tensor:
    """The Triton kernel, on a GPU alone."""
    from dvis_daq.layers.deformable_triton import sample_by_triton

    return sample_by_triton(value, sizes, places, weights)


SAMPLERS: dict[str, Sampler] = {
    "grid": sample_by_grid,
    "bags": sample_by_bags,
    "gather": sample_by_gather,
}


def inputs(case: str, device: str) -> tuple[Tensor, Sizes, Tensor, Tensor]:
    """Random value, sizes, places and weights; some places are outside."""
    frames, sizes, width = CASES[case]
    generator = torch.Generator(device).manual_seed(0)
    options = {"generator": generator, "device": device}
    tokens = sum(h * w for h, w in sizes)
    layout = (frames, HEADS, len(sizes), POINTS)
    value = torch.randn(frames, tokens, HEADS, width, **options)
    pixels = torch.tensor([[w, h] for h, w in sizes], device=device)[:, None, :, None]
    places = (torch.rand(*layout, 2, tokens, **options) * 1.2 - 0.1) * pixels - 0.5
    weights = torch.rand(*layout, tokens, **options)
    return value.requires_grad_(), sizes, places.requires_grad_(), weights.requires_grad_()


def best_ms(run: Callable[[], object], device: str, repeats: int) -> float:
    """Shortest of `repeats` runs, in milliseconds."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    times = []
    for _ in range(repeats + 1):
        start = clock()
        run()
        if device != "cpu":
            torch.cuda.synchronize()
        times.append(clock() - start)
    return 1000 * min(times[1:])


def measure(case: str, device: str, repeats: int) -> list[dict[str, object]]:
    """One row for each formulation."""
    arguments = inputs(case, device)
    rows, reference = [], None
    kernel = {} if device == "cpu" else {"triton": sample_by_kernel}
    for name, sampler in (SAMPLERS | kernel).items():

        def forward(sampler: Sampler = sampler) -> Tensor:
            with torch.no_grad():
                return sampler(*arguments)

        def training(sampler: Sampler = sampler) -> None:
            sampler(*arguments).square().sum().backward()

        learns = sampler is not sample_by_bags

        out = forward()
        reference = out if reference is None else reference
        rows.append(
            {
                "case": case,
                "formulation": name,
                "forward_ms": best_ms(forward, device, repeats),
                "training_ms": best_ms(training, device, repeats) if learns else None,
                "difference": (out - reference).abs().max().item(),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    parser.add_argument("--repeats", type=int, default=5, help="runs of which the best counts")
    parser.add_argument("--json", type=Path, help="write the figures here")
    args = parser.parse_args()
    if args.device != "cpu" and not torch.cuda.is_available():
        parser.error(f"--device {args.device}: this machine has no CUDA device, use cpu")
    torch.set_num_threads(args.threads)

    rows = [row for case in CASES for row in measure(case, args.device, args.repeats)]
    print(f"{'case':28s}{'formulation':13s}{'forward':>10s}{'training':>10s}{'difference':>12s}")
    for row in rows:
        training = row["training_ms"]
        times = f"{row['forward_ms']:10.1f}" + (f"{training:10.1f}" if training else f"{'-':>10}")
        print(f"{row['case']:28s}{row['formulation']:13s}{times}{row['difference']:12.1e}")
    if args.json:
        machine = {"processor": platform.processor() or platform.machine(), "seed": 0}
        machine |= {"torch": torch.__version__, "threads": args.threads, "device": args.device}
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
