"""What a table was made with: commit, date, command, versions."""

from __future__ import annotations

import datetime
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from dvis_daq.version import __version__
from dvis_daq.workbench.runs import ROOT


def manifest(arguments: Sequence[str] | None) -> dict[str, Any]:
    """Facts about this process.

    Args:
        arguments: of the tool; None for those of the command line.
    """
    words = [sys.argv[0], *(sys.argv[1:] if arguments is None else arguments)]
    return {
        "command": shlex.join(["python", *words]),
        "commit": commit(),
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "version": __version__,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {platform.system()}",
    }


def commit() -> str:
    """The commit of the checkout, with + for changes that are not committed; "unknown" outside."""
    found = _git("rev-parse", "--short=10", "HEAD")
    return "unknown" if found is None else found + ("+" if _git("status", "--porcelain") else "")


def _git(*arguments: str) -> str | None:
    command = ["git", "-C", str(ROOT), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return None if done.returncode else done.stdout.strip()
