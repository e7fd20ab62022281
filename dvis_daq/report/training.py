"""Training curves from the `metrics.json` of a run."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

MAX_POINTS = 600  # of a curve; a screen shows no more

Curve = list[tuple[int, float | None]]  # (iteration, value), None where it is not finite


def read_run(path: str | Path) -> dict[str, Curve]:
    """The curves of a run by name.

    A run that was resumed repeats iterations: the last value counts. A last line without an
    end is left out, because the run may be writing it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line is no json object with an iteration, or there is none.
    """
    text = Path(path).read_text(encoding="utf-8")
    lines = text.splitlines()
    if text and not text.endswith("\n"):
        lines.pop()
    values: dict[str, dict[int, float | None]] = defaultdict(dict)
    for number, line in enumerate(lines, start=1):
        entry = _entry(line, f"{path}, line {number}")
        for name, value in entry.items():
            if name != "iteration" and isinstance(value, (int, float)):
                values[name][entry["iteration"]] = _finite(value)
    if not values:
        raise ValueError(f"{path}: no figures; name the metrics.json of a training run")
    return {name: thinned(sorted(found.items())) for name, found in values.items()}


def thinned(curve: Curve, limit: int = MAX_POINTS) -> Curve:
    """At most `limit` evenly spread points of a curve, the first and the last among them."""
    if len(curve) <= limit:
        return curve
    step = (len(curve) - 1) / (limit - 1)
    return [curve[round(i * step)] for i in range(limit)]


def _entry(line: str, place: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{place}: no json ({error}); name the metrics.json of a run") from None
    if not isinstance(entry, dict) or not isinstance(entry.get("iteration"), int):
        raise ValueError(f"{place}: no iteration; name the metrics.json of a training run")
    return entry


def _finite(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None
