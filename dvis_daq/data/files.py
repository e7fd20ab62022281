"""Names of files in order, and files that appear only when they are complete."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any


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
