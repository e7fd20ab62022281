"""Data and the files of `templates/` become one document.

Nothing of the data is ever markup: the data travel as json in a script element that is not
executed, the scripts set texts only, and a content policy allows no script but these, no
network and no form.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from dvis_daq.report.json_text import as_json
from dvis_daq.version import __version__

# In this order: each uses what those before it define.
SCRIPTS = (
    "dom.js",
    "outline.js",
    "state.js",
    "stage.js",
    "timeline.js",
    "side.js",
    "truth.js",
    "figures.js",
    "charts.js",
    "keys.js",
    "main.js",
)


def render(
    title: str,
    *,
    clips: Sequence[Mapping[str, Any]] = (),
    figures: Mapping[str, Any] | None = None,
    runs: Sequence[tuple[str, Mapping[str, Any]]] = (),
) -> str:
    """The whole document.

    Args:
        title: shown at the top and in the window.
        clips: of `clips.clip_data`.
        figures: of `evaluation.scoring.score`, fractions.
        runs: name and curves (`training.read_run`) of each training run.

    Raises:
        ValueError: there is nothing to show, or a number is not finite.
    """
    if not (clips or figures or runs):
        raise ValueError("the report would be empty: give tracks, figures or training logs")
    style = _template("report.css")
    script = "(() => {\n'use strict';\n" + "\n".join(map(_template, SCRIPTS)) + "\n})();\n"
    data = {
        "title": title,
        "version": __version__,
        "clips": clips,
        "figures": figures,
        "runs": [{"name": name, "curves": curves} for name, curves in runs],
    }
    parts = {
        "title": html.escape(title),
        "policy": html.escape(_policy(style, script)),
        "style": style,
        "script": script,
        "data": as_json(data),
    }
    # one pass, so that a name in the data is never taken for a place of the template
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], _template("report.html"))


def _policy(style: str, script: str) -> str:
    return "; ".join(
        (
            "default-src 'none'",
            "img-src data:",
            f"style-src '{_digest(style)}'",
            f"script-src '{_digest(script)}'",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _template(name: str) -> str:
    return (files("dvis_daq.report") / "templates" / name).read_text(encoding="utf-8")
