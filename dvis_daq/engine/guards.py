"""What happens to a step whose loss, matching cost or gradient is not finite."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import torch
from detectron2.utils import comm

from dvis_daq.engine.agreement import largest
from dvis_daq.engine.dump import Dump, places
from dvis_daq.engine.errors import TrainingError

logger = logging.getLogger(__name__)

MAX_IN_A_ROW = 100  # skipped steps after which a training is given up
MAX_DUMPS = 3  # of a run and process; each holds the weights


class NonFiniteGuard:
    """Ends the training (`stop`), or leaves the step out (`skip`); a dump allows to look at it.

    Args:
        policy: `SOLVER.NON_FINITE`.
        folder: of the dumps.
        device: see `agreement.largest`.
    """

    def __init__(self, policy: str, folder: Path, device: torch.device) -> None:
        self._skips = policy == "skip"
        self._folder = folder
        self._device = device
        self._dumps = 0
        self._in_a_row = 0

    def anywhere(self, problem: str) -> bool:
        """Whether this step has a problem; to skip it, all processes have to agree."""
        if not self._skips:
            return bool(problem)
        return bool(largest(int(bool(problem)), self._device))

    def fine(self) -> None:
        """A step went well."""
        self._in_a_row = 0

    def out_of_range(self) -> None:
        """A step was left out by fp16's scaler, which is how it finds its scale."""
        self._count("the gradients leave the range of fp16")

    def met(self, problem: str, make_dump: Callable[[str], Dump]) -> None:
        """Handles a step that was not made.

        Args:
            problem: of this process; '' where another process met it.
            make_dump: problem -> what to write.

        Raises:
            TrainingError: the training ends.
        """
        if problem:
            dump = make_dump(problem)
            where = f"iteration {dump.iteration}, video {places(dump.batches)}"
            message = f"{where}: {problem}{self._write(dump)}"
            if not self._skips:
                raise TrainingError(
                    f"{message}. SOLVER.NON_FINITE skip leaves such a step out; a lower "
                    "SOLVER.BASE_LR or SOLVER.PRECISION fp32 may prevent it"
                )
            logger.warning("%s; the step is left out", message)
        self._count("no loss or gradient is finite")

    def _count(self, reason: str) -> None:
        self._in_a_row += 1
        if self._in_a_row >= MAX_IN_A_ROW:
            raise TrainingError(
                f"{MAX_IN_A_ROW} steps in a row were left out: {reason}; the training has "
                "diverged. Go back to an earlier checkpoint, with a lower SOLVER.BASE_LR or "
                "SOLVER.PRECISION fp32"
            )

    def _write(self, dump: Dump) -> str:
        """Writes a dump if there are not too many; says so."""
        if self._dumps == MAX_DUMPS:
            return ""
        self._dumps += 1
        path = self._folder / f"iteration_{dump.iteration:07d}_rank{comm.get_rank()}.pth"
        try:
            dump.write(path)
        except (OSError, RuntimeError) as error:  # the problem itself must be told
            return f" (no dump, {path} cannot be written: {error})"
        return f" (to look at it: tools/train_net.py --config-file FILE --replay {path})"
