"""Takes the place of the processes of `tools/`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Answer = Callable[[Sequence[str]], Any]


class FakeTools:
    """Writes what a tool would write to its --json, and remembers the calls.

    Args:
        answer: the command -> the content.
    """

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.commands: list[list[str]] = []

    def __call__(self, command: Sequence[str], folder: Path, name: str) -> None:
        self.commands.append(list(command))
        file = Path(command[command.index("--json") + 1])
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(self.answer(command)))


def event_figures(ap: float, recall: float, ghosts: float | None = 0.25) -> dict[str, Any]:
    """What tools/eval.py --events writes, as far as it is read."""
    recalls = {"emerging_recall": recall, "disappearing_recall": recall / 2}
    presence = {"emergence_recall": recall, "disappearance_recall": 0.1, "ghost_rate": ghosts}
    return {
        "AP": ap,
        "AP50": ap,
        "events": {
            "ap": {"ed": {"AP": ap / 2}},
            "ap_videos": {"0.4": {"AP": ap}},
            "recall_delta1": recalls,
            "presence": presence,
        },
    }
