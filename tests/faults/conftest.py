"""Faults that really happen: `make test-faults`. What was tried is counted and shown at the end."""

from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TALLY = pytest.StashKey[list[tuple[str, int, int, str]]]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.faults)


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TALLY] = []


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Callable[[str, int, int, str], None]:
    """Notes (fault, tried, survived, what was lost)."""
    rows = request.config.stash[TALLY]
    return lambda *row: rows.append(row)


def pytest_terminal_summary(terminalreporter: object, config: pytest.Config) -> None:
    if rows := config.stash[TALLY]:
        terminalreporter.section("faults")
        for fault, tried, survived, lost in rows:
            terminalreporter.line(f"| {fault} | {tried} | {survived} | {lost} |")
