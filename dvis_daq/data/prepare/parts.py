"""Work in parts that survive an interruption."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from dvis_daq.data.files import write_json

Progress = Callable[[Sequence[Any]], Iterable[Any]]  # wraps a list, e.g. tqdm


class Parts:
    """What was found out of each item, kept in a folder until the whole is written.

    Args:
        output: the file that the parts are for; they lie beside it meanwhile.
    """

    def __init__(self, output: Path) -> None:
        self.folder = output.with_name(f".{output.name}.parts")

    def of(
        self, names: Sequence[str], make: Callable[[str], Any], progress: Progress = iter
    ) -> Iterator[Any]:
        """The part of each name: read where an earlier run made it, else made now."""
        for name in progress(names):
            file = self.folder / f"{name}.json"
            if not file.is_file():
                write_json(file, make(name))
            yield json.loads(file.read_bytes())

    def remove(self) -> None:
        """To be called when the whole is on disk."""
        shutil.rmtree(self.folder, ignore_errors=True)
