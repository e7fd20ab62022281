"""The shape of a parsed json: which keys have values of which type, before anything is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LIMIT = 2**63  # of whole numbers, which become int64


def require_shape(value: Any, shape: Any, where: str, *, complete: bool = True) -> None:
    """Compares a value with a shape.

    Args:
        value: parsed json.
        shape: a type or a tuple of types; a list with the shape of its items; or a mapping with
            the shapes of some keys, where a name that ends in `?` may be missing.
        where: place of the value, for messages.
        complete: keys must be there; else those that are there are looked at.

    Raises:
        ValueError: something is missing or of another type; the message names its place.
    """
    if isinstance(shape, list):
        _require(isinstance(value, list), where, "a list")
        for index, item in enumerate(value):
            require_shape(item, shape[0], f"{where}[{index}]", complete=complete)
    elif isinstance(shape, Mapping):
        _require(isinstance(value, dict), where, "an object")
        for name, inner in shape.items():
            key = name.removesuffix("?")
            if key in value:
                require_shape(value[key], inner, f"{where}.{key}", complete=complete)
            elif key == name and complete:
                raise ValueError(f"{where}: '{key}' is missing; add it")
    else:
        kinds = shape if isinstance(shape, tuple) else (shape,)
        sound = isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))
        _require(sound, where, " or ".join(kind.__name__ for kind in kinds))
        if isinstance(value, int):
            _require(abs(value) < LIMIT, where, "a number of 63 bits")


def _require(sound: bool, where: str, expected: str) -> None:
    if not sound:
        raise ValueError(f"{where}: expected {expected}; correct the entry")
