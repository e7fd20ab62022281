"""How a program ends when its input is bad."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_OURS = [_PACKAGE, *(_PACKAGE.parent / name for name in ("tools", "datasets", "benchmarks"))]


@contextmanager
def one_line_errors(*kinds: type[Exception]) -> Iterator[None]:
    """Bad input ends the program with its message, and status 1, instead of a traceback.

    Errors that the package or a program raises on purpose, and those of the file system. A
    ValueError from inside another library keeps its traceback: it says nothing without it.

    Args:
        kinds: more errors that need no traceback, wherever they come from.
    """
    try:
        yield
    except (ValueError, OSError, *kinds) as error:
        foreign = type(error) is ValueError and not _is_ours(error)
        if foreign and not isinstance(error, kinds):
            raise
        raise SystemExit(f"error: {error}") from None


def _is_ours(error: Exception) -> bool:
    origin = Path(traceback.extract_tb(error.__traceback__)[-1].filename).resolve()
    return any(folder in origin.parents for folder in _OURS)
