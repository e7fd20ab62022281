"""How many cases a fuzzing test tries: a few by default, thousands in `make test-faults`."""

from __future__ import annotations

import os

THOROUGH = "DVIS_DAQ_FUZZ"


def fuzz_cases(default: int, thorough: int) -> int:
    """Number of cases of one test; all thorough ones together are more than 10,000."""
    return thorough if os.environ.get(THOROUGH) else default
