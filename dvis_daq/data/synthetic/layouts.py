"""The formats that a synthetic data set can be written in."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Protocol

from dvis_daq.data.synthetic.instances import InstanceLayout
from dvis_daq.data.synthetic.objects import MoseLayout
from dvis_daq.data.synthetic.panoptic import VipsegLayout, VspwLayout
from dvis_daq.data.synthetic.recipe import Recipe
from dvis_daq.data.synthetic.render import SyntheticVideo


class Layout(Protocol):
    """Writes one split, video by video.

    Attributes:
        OWNS: the files and folders, relative to the data set, that the format may write.
    """

    OWNS: ClassVar[tuple[str, ...]]

    def __init__(self, recipe: Recipe, folder: Path, split: str) -> None: ...

    def add(self, index: int, video: SyntheticVideo) -> None:
        """Writes the images of a video and takes a note of it."""

    def finish(self) -> None:
        """Writes what describes the split."""


LAYOUTS: dict[str, type[Layout]] = {
    "vis": InstanceLayout,
    "vps": VipsegLayout,
    "vss": VspwLayout,
    "vos": MoseLayout,
}
