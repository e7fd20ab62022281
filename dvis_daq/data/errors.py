"""The one error of bad data, and what to do where it is to be left out instead."""

from __future__ import annotations

import logging

logger = logging.getLogger(__name__)


class BrokenDataError(ValueError):
    """A file or an entry of a data set cannot be used; the message names it and the remedy.

    With `DATALOADER.SKIP_BROKEN` training leaves out what raises this, and counts it.
    """


class Skipped:
    """What is left out of one data set: each fault is logged once, `count` counts them all.

    Args:
        name: of the data set.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.count = 0
        self._told: set[str] = set()

    def add(self, error: BrokenDataError) -> None:
        self.count += 1
        if str(error) not in self._told:
            self._told.add(str(error))
            logger.warning("data set '%s', left out: %s", self.name, error)


def left_out(error: BrokenDataError, skipped: Skipped | None) -> None:
    """Notes an error where broken entries are skipped, raises it where they are not (None)."""
    if skipped is None:
        raise error from None
    skipped.add(error)
