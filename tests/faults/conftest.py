"""Faults that really happen: `make test-faults`. What was tried is counted and shown at the end."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROW = "fault"  # property of a test; such properties reach the summary from other processes, too


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.faults)


@pytest.fixture
def tally(record_property: Callable[[str, object], None]) -> Callable[[str, int, int, str], None]:
    """Notes (fault, tried, survived, what was lost)."""
    return lambda *row: record_property(ROW, row)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
    rows = [row for report in reports if report.when == "call"
            for name, row in report.user_properties if name == ROW]  # fmt: skip
    if rows:
        terminalreporter.section("faults")
        for row in [("fault", "tried", "survived", "what was lost"), ["---"] * 4, *sorted(rows)]:
            terminalreporter.line(f"| {' | '.join(map(str, row))} |")
