"""SIGTERM and Ctrl-C as a wish: the iteration is finished and saved before the program ends."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from dvis_daq.engine.errors import Interrupted

logger = logging.getLogger(__name__)

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_PATIENCE = 3.0  # seconds after which a second Ctrl-C means it; launchers repeat the first one


class StopWish:
    """Remembers the first signal.

    Attributes:
        signal_number: of the signal, 0 while there was none.
    """

    def __init__(self) -> None:
        self.signal_number = 0
        self._since = 0.0
        self._process = os.getpid()
        self._at_once = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Signals are a wish meanwhile; does nothing outside of the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before: dict[int, Any] = {number: signal.getsignal(number) for number in _SIGNALS}
        for number in _SIGNALS:
            signal.signal(number, self._receive)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Inside, a signal raises `Interrupted` without waiting for anything."""
        self._at_once = True
        try:
            if self.signal_number:
                raise Interrupted(self.signal_number)
            yield
        finally:
            self._at_once = False

    def _receive(self, number: int, _: FrameType | None) -> None:
        if os.getpid() != self._process:  # a data worker, which ends with its parent
            return
        now = time.monotonic()
        if not self.signal_number:
            self.signal_number, self._since = number, now
            name = signal.Signals(number).name
            logger.warning("%s: the training stops after this iteration and is saved", name)
        elif number == signal.SIGINT and now - self._since > _PATIENCE:
            raise KeyboardInterrupt
        if self._at_once:
            raise Interrupted(number)
