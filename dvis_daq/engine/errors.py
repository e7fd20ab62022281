"""Why a training ends before its time."""

from __future__ import annotations


class TrainingError(RuntimeError):
    """Training cannot go on; the message says where it happened and what to do."""


class Interrupted(KeyboardInterrupt):
    """A signal has ended the training; what was done is saved.

    Like the interrupt that it is, it passes handlers of ordinary errors.

    Args:
        signal_number: of the signal.
        saved: where the training goes on from.
    """

    def __init__(self, signal_number: int, saved: str = "") -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number
        self.saved = saved
