"""A headless Chromium of its own, or a skip with the reason."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,1000",
)
_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def chromium(*flags: str) -> Iterator[Any]:
    """A selenium driver whose console is kept; needs the `browser` extra and a Chromium."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="pip install '.[browser]'")
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("no Chromium with chromedriver is installed")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        for flag in (*FLAGS, *flags, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.binary_location = program
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
        try:
            yield browser
        finally:
            browser.quit()


def console(browser: Any, level: str | None = None) -> list[str]:
    """What the page wrote to the console since the last call; errors of the policy too.

    Args:
        level: only these messages, "SEVERE" for instance.
    """
    entries = [one for one in browser.get_log("browser") if level in (None, one["level"])]
    messages = [entry["message"] for entry in entries]
    return [text for text in messages if "willReadFrequently" not in text]  # the test reads pixels
