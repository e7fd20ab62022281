"""The segmenter as a program without this package: `torch.export`, and ONNX by option.

The tracker stays in Python: its number of rows changes from frame to frame. What an exported
segmenter says is turned into `FrameOutputs` again by `frame_outputs`.
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dvis_daq.checkpoint import write_atomically
from dvis_daq.structures import FrameOutputs

ONNX_HINT = "pip install 'dvis_daq[onnx]'"


class PlainOutputs(nn.Module):
    """A segmenter whose outputs are a tuple of tensors.

    Args:
        segmenter: (T, 3, H, W) images -> `FrameOutputs`; put to evaluation mode.
        names: the fields of `FrameOutputs` to give, in this order.
    """

    def __init__(self, segmenter: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.names = names
        self.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """The tensors of `names`, of images (T, 3, H, W) uint8 RGB."""
        outputs = self.segmenter(images)
        return tuple(getattr(outputs, name) for name in self.names)


@torch.no_grad()
def plain(segmenter: nn.Module, images: Tensor) -> PlainOutputs:
    """With all that the segmenter says of some images."""
    outputs = segmenter.eval()(images)
    names = [field.name for field in fields(outputs)]
    return PlainOutputs(
        segmenter, tuple(name for name in names if getattr(outputs, name) is not None)
    )


def frame_outputs(names: tuple[str, ...], values: tuple[Tensor, ...]) -> FrameOutputs:
    """What an exported segmenter said, as the trackers take it."""
    return FrameOutputs(**dict(zip(names, values, strict=True)))


@torch.no_grad()
def export_program(module: PlainOutputs, images: Tensor, path: Path, facts: dict[str, Any]) -> None:
    """Writes a `.pt2` that `torch.export.load` reads, for images of this size and number.

    Args:
        module: from `plain`.
        images: (T, 3, H, W) uint8, an example.
        path: of the file, which appears only when it is complete.
        facts: put into the file as `facts.json`, with the names of the outputs.
    """
    program = torch.export.export(module, (images,), strict=False)
    extra = {"facts.json": json.dumps(facts | {"outputs": module.names})}
    write_atomically(path, lambda file: torch.export.save(program, file, extra_files=extra))


@torch.no_grad()
def run_program(path: Path, images: Tensor) -> tuple[dict[str, Any], tuple[Tensor, ...]]:
    """The facts of a `.pt2` and what it says of images (T, 3, H, W) uint8."""
    extra = {"facts.json": ""}
    program = torch.export.load(path, extra_files=extra)
    return json.loads(extra["facts.json"]), program.module()(images)


@torch.no_grad()
def export_onnx(module: PlainOutputs, images: Tensor, path: Path, facts: dict[str, Any]) -> None:
    """Writes an ONNX file, arguments as in `export_program`; weights are inside.

    Raises:
        ValueError: the packages of the extra `onnx` are not installed.
    """
    _require("onnx", "onnxscript")
    program = torch.onnx.export(
        module,
        (images,),
        dynamo=True,
        verbose=False,
        input_names=["images"],
        output_names=list(module.names),
    )
    assert program is not None  # with dynamo
    for name, value in facts.items():
        program.model.metadata_props[name] = value if isinstance(value, str) else json.dumps(value)
    program.save(path, external_data=False)


def run_onnx(path: Path, images: Tensor) -> tuple[Tensor, ...]:
    """What an ONNX file says of images (T, 3, H, W) uint8, in onnxruntime on the CPU."""
    _require("onnxruntime")
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return tuple(map(torch.from_numpy, session.run(None, {"images": images.cpu().numpy()})))


def difference(expected: tuple[Tensor, ...], found: tuple[Tensor, ...]) -> float:
    """The largest difference, each tensor in units of its largest value."""
    pairs = zip(expected, found, strict=True)
    return max(float((a - b).abs().max() / a.abs().max().clamp(min=1e-6)) for a, b in pairs)


def _require(*modules: str) -> None:
    for name in modules:
        try:
            __import__(name)
        except ImportError as error:
            raise ValueError(f"ONNX needs the package {name}: {ONNX_HINT}") from error
