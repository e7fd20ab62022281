"""Figures as a table for people and as json for programs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dvis_daq.metrics.events import FLAGS

_PER_LINE = 6  # figures beside each other


def table(figures: Mapping[str, Any]) -> str:
    """The figures of any task as text, fractions in percent."""
    return _tracks(figures) if "AP" in figures else _labels(figures)


def _labels(figures: Mapping[str, Any]) -> str:
    """Of the tasks whose results are label images."""
    counts = ", ".join(f"{number} {name}" for name, number in figures["counts"].items())
    plain = (int, float, type(None))
    blocks = [counts, _grid({k: v for k, v in figures.items() if isinstance(v, plain)})]
    if "per_class" in figures:
        rows = {f"{row['name']} ({k})": row for k, row in figures["per_class"].items()}
        columns = [
            c for c in ("VPQ", "PQ1", "PQ8", "IoU") if all(c in row for row in rows.values())
        ]
        blocks.append(_rows("class (id)", rows, tuple(columns)))
    if "events" in figures:
        events = figures["events"]
        videos = events["videos"].items()
        rows = {f"videos with >= {share} ed ({len(v['video_ids'])})": v for share, v in videos}
        rows = {f"ed things ({events['ed_things']})": {"VPQ": events["VPQ_ed"]}, **rows}
        blocks.append(_rows("objects that", rows, ("VPQ",)))
    return "\n\n".join(blocks)


def _tracks(figures: Mapping[str, Any]) -> str:
    """Of `scoring.score`."""
    counts = figures["counts"]
    blocks = [
        f"{counts['videos']} videos, {counts['objects']} objects (and {counts['crowd']} crowd), "
        f"{counts['predictions']} predictions",
        _grid({name: value for name, value in figures.items() if name[:2] in ("AP", "AR")}),
        _classes(figures["per_class"]),
    ]
    if "long" in figures:
        parts = {name: figures[name] for name in ("long", "short")}
        blocks.append(_rows("part", parts, ("AP", "AP50", "AP75", "AR1", "AR10")))
    if "events" in figures:
        blocks.append(_events(figures["events"]))
    if "missed_emergences" in figures:
        blocks.append(_missed(figures["missed_emergences"]))
    return "\n\n".join(blocks)


def write_json(figures: Mapping[str, Any] | Sequence[Any], path: str | Path) -> None:
    """Writes the figures; `path` is the old file or the complete new one."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def percent(fraction: float | None) -> str:
    """'-' where nothing is defined."""
    return "-" if fraction is None else f"{100 * fraction:.2f}"


def _grid(figures: Mapping[str, float | None]) -> str:
    """Names above values, a few beside each other."""
    names = list(figures)
    lines = []
    for start in range(0, len(names), _PER_LINE):
        part = names[start : start + _PER_LINE]
        width = max(11, *(len(name) + 2 for name in part))
        lines.append("".join(f"{name:>{width}}" for name in part))
        lines.append("".join(f"{percent(figures[name]):>{width}}" for name in part))
    return "\n".join(lines)


def _rows(title: str, rows: Mapping[str, Mapping[str, Any]], columns: tuple[str, ...]) -> str:
    width = max(len(name) for name in (title, *rows))
    lines = [f"{title:<{width}}" + "".join(f"{column:>9}" for column in columns)]
    lines += [
        f"{name:<{width}}" + "".join(f"{percent(row[column]):>9}" for column in columns)
        for name, row in rows.items()
    ]
    return "\n".join(lines)


def _classes(classes: Mapping[str, Mapping[str, Any]]) -> str:
    named = {f"{row['name']} ({number})": row for number, row in classes.items()}
    return _rows("class (id)", named, ("AP", "AP50", "AP75", "AR100"))


def _events(events: Mapping[str, Any]) -> str:
    """AP^ed, recalls with a slack of one frame, and how tracks come and go."""
    flags = {f"AP^{flag}": events["ap"][flag] for flag in FLAGS}
    shares = {
        f"videos with >= {share} ed ({len(row['video_ids'])})": row
        for share, row in events["ap_videos"].items()
    }
    lines = [_rows("objects that", flags | shares, ("AP", "AP50", "AP75", "AR10")), ""]
    recall = events["recall_delta1"]
    lines += [
        _share("emergences seen within a frame", recall, "emerging_hit", "emerging"),
        _share("  and by a track not there before", recall, "emerging_strict", "emerging"),
        _share("disappearances seen", recall, "disappearing_hit", "disappearing"),
        "",
    ]
    presence = events["presence"]
    lines += [
        _share("assigned track hits on emergence", presence, "emerging_hit", "emerging"),
        _share("assigned track ends with the object", presence, "disappearing_hit", "disappearing"),
        _share("ghost frames", presence, "ghost_frames", "absent_frames"),
        *(
            _share(f"  {phase}", presence, f"ghost_frames_{phase}", f"absent_frames_{phase}")
            for phase in ("before", "after", "gap")
        ),
        _share("id switches on re-entry", presence, "id_switches", "reentries"),
    ]
    latency = presence["latency_mean"]
    known = "-" if latency is None else f"{latency:.2f} frames (mean)"
    lines.append(f"{'latency to the first hit':<36} {known}, {presence['latency_known']} objects")
    return "\n".join(lines)


def _share(title: str, counts: Mapping[str, Any], part: str, whole: str) -> str:
    share = percent(counts[part] / counts[whole] if counts[whole] else None)
    return f"{title:<36} {share:>7} %   {counts[part]} of {counts[whole]}"


def _missed(missed: list[dict[str, Any]]) -> str:
    lines = [f"missed emergences: {len(missed)}"]
    for event in missed:
        rule = "" if event["rule"] is None else f" by {event['rule']}"
        lines.append(
            f"  video {event['video_id']}, object {event['object_id']}, frame {event['frame']}: "
            f"{event['verdict']}{rule}"
        )
    return "\n".join(lines)
