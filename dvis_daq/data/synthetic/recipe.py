"""The options of a synthetic data set; together with the version they fix every byte of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

VERSION = 1  # raise it with every change that alters a pixel or a mask
SPLITS = ("train", "val")
FORMATS = ("vis", "vps", "vss", "vos")
REFERENCE_SIDE = 96  # px; lengths of the recipe are written for this shorter side


@dataclass(frozen=True)
class Recipe:
    """What `write_dataset` makes.

    Attributes:
        seed: of the whole set; video `i` of a split depends on (seed, split, i) alone.
        height: of the frames in px; sprites and speeds scale with the shorter side.
        width: likewise.
        frames: length of every video.
        train: number of training videos.
        val: number of validation videos.
        objects: fewest and most sprites of a video, both included (crowding).
        speed: multiplies every motion.
        event_rate: share 0..1 of the sprites with an event; the others stay in sight.
        absence: about how many frames a sprite that comes back is out of sight.
        bar_rate: share 0..1 of the videos with a bar that hides what is behind it.
        hue_cue: each class has a typical hue; without it shape alone tells the class.
        look_alikes: chance 0..1 that a sprite is dressed like the one before it.
        min_visible: px; a sprite that shows less in a frame counts as absent there.
        panoptic: with `format` vis, also write a panoptic version with stuff.
        format: on disk: `vis` (OVIS json), `vps` (VIPSeg), `vss` (VSPW) or `vos` (MOSE).
    """

    seed: int = 0
    height: int = 96
    width: int = 128
    frames: int = 12
    train: int = 120
    val: int = 60
    objects: tuple[int, int] = (3, 5)
    speed: float = 1.0
    event_rate: float = 0.6
    absence: int = 3
    bar_rate: float = 0.65
    hue_cue: bool = True
    look_alikes: float = 0.0
    min_visible: int = 24
    panoptic: bool = False
    format: str = "vis"

    def __post_init__(self) -> None:
        object.__setattr__(self, "objects", tuple(self.objects))
        for name in ("event_rate", "bar_rate", "look_alikes"):
            _require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "must be in 0..1")
        for name in ("height", "width"):
            _require(getattr(self, name) >= 32, name, getattr(self, name), "must be at least 32 px")
        for name in ("seed", "train", "val"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "must not be negative")
        _require(self.frames >= 1, "frames", self.frames, "must be at least 1")
        _require(self.speed > 0, "speed", self.speed, "must be positive")
        _require(self.min_visible >= 1, "min_visible", self.min_visible, "must be at least 1")
        _require(self.absence >= 1, "absence", self.absence, "must be at least 1")
        _require(self.format in FORMATS, "format", self.format, f"must be one of {FORMATS}")
        _require(not self.panoptic or self.format == "vis", "panoptic", True, "needs format vis")
        few, many = self.objects
        _require(1 <= few <= many <= 200, "objects", self.objects, "needs 1 <= low <= high <= 200")

    @property
    def unit(self) -> float:
        """Scale of all lengths: 1 where the shorter side has 96 px."""
        return min(self.height, self.width) / REFERENCE_SIDE

    def rng(self, split: str, index: int) -> np.random.Generator:
        """The random numbers of one video, the same in any process and any order."""
        return np.random.default_rng([self.seed, SPLITS.index(split), index])

    def to_json(self) -> dict[str, object]:
        return {"version": VERSION, **asdict(self), "objects": list(self.objects)}


def _require(holds: bool, name: str, value: object, rule: str) -> None:
    if not holds:
        raise ValueError(f"synthetic recipe: {name} {rule}, got {value}")
