"""Names of files: in order, within their root; and files that appear only when complete."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from dvis_daq.data.errors import BrokenDataError

# Not an entry of a configuration: what somebody else wrote must not be able to set it.
ANYWHERE = "DVIS_DAQ_PATHS_ANYWHERE"
MAX_PIXELS = 2**28  # of a frame, 16384 x 16384; more is a mistake, or meant to fill the memory


def leaves_root(name: str) -> bool:
    """Whether a name that is relative to a root leads out of it; set `ANYWHERE` to allow that."""
    path = PurePosixPath(name.replace("\\", "/"))
    return not os.environ.get(ANYWHERE) and (path.is_absolute() or ".." in path.parts)


def within(root: Path, name: str) -> Path:
    """`root / name`.

    Raises:
        BrokenDataError: it would leave the root.
    """
    if leaves_root(name):
        raise BrokenDataError(
            f"'{name}' leaves {root}; use paths relative to it, without '..' "
            f"({ANYWHERE}=1 allows it)"
        )
    return Path(root) / name


def check_size(height: int, width: int) -> None:
    """Raises BrokenDataError for a frame that no memory should be taken for."""
    if not 0 < height * width <= MAX_PIXELS:
        raise BrokenDataError(
            f"a frame of {height} x {width} pixels; expected 1 to {MAX_PIXELS}, correct the size"
        )


def natural_order(name: str) -> list[tuple[bool, int | str]]:
    """Sort key by which frame 2 comes before frame 10."""
    pieces = re.split(r"(\d+)", name)
    return [(not piece.isdigit(), int(piece) if piece.isdigit() else piece) for piece in pieces]


def write_json(path: Path, data: Any, indent: int | None = None) -> None:
    """Writes json; an interrupted run leaves the old file, or none."""
    write_bytes(path, json.dumps(data, indent=indent).encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Writes to a temporary file beside `path`, which then takes its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.part")
    temporary.write_bytes(content)
    temporary.replace(path)
