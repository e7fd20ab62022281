"""Data as text inside a document."""

from __future__ import annotations

import json


def as_json(data: object) -> str:
    """Json that can stand in a script element: no `<`, and no line ends that scripts trip over.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
