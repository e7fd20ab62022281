"""Work in parts that survive an interruption."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from dvis_daq.data.files import write_json

Progress = Callable[[Sequence[Any]], Iterable[Any]]  # wraps a list, e.g. tqdm


class Parts:
    """What was found out of each item, kept in a folder until the whole is written.

    Args:
        output: the file that the parts are for; they lie beside it meanwhile.
        settings: parts made with other settings are not used.
    """

    def __init__(self, output: Path, settings: str = "") -> None:
        self.folder = output.with_name(f".{output.name}.parts{settings}")

    def make(
        self,
        names: Sequence[str],
        make: Callable[[str], Any],
        *,
        progress: Progress = iter,
        workers: int = 1,
    ) -> list[Any]:
        """The part of each name; those that an earlier run made are not made again.

        Args:
            names: of the items, usable as file names.
            make: the part of a name, something that json can hold; can be pickled if there are
                several workers.
            progress: wraps the names that are still to do.
            workers: processes that make parts.
        """
        missing = [name for name in names if not self._file(name).is_file()]
        for name, part in self._made(missing, make, progress, workers):
            write_json(self._file(name), part)
        return [json.loads(self._file(name).read_bytes()) for name in names]

    def remove(self) -> None:
        """To be called when the whole is on disk."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _made(
        self, names: list[str], make: Callable[[str], Any], progress: Progress, workers: int
    ) -> Iterator[tuple[str, Any]]:
        if workers == 1:
            yield from ((name, make(name)) for name in progress(names))
            return
        # a fresh interpreter each: OpenCV's threads do not survive a fork
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            yield from zip(progress(names), pool.map(make, names), strict=True)
