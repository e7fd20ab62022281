"""Configuration files of anybody: read without executing, hanging or filling the memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from detectron2.config import CfgNode

_MAX_FILE = 2**20  # bytes
_MAX_ALIASES = 100
_MAX_DEPTH = 50  # yaml.parse takes time by the square of the depth


class ConfigError(ValueError):
    """A configuration file or override that cannot be used; the message says what to do."""


def read_yaml(file: Path) -> dict[str, Any]:
    """The mapping in a YAML file, merged over the files it names in `_BASE_`.

    Raises:
        ConfigError: a file is missing, is no mapping, asks for objects, or would fill the memory.
    """
    if not file.is_file():
        raise ConfigError(f"{file}: no such configuration file")
    _check_chain(file, ())
    try:
        values = CfgNode.load_yaml_with_base(str(file), allow_unsafe=False)
    except yaml.YAMLError as error:
        where = " ".join(str(error).split())
        message = f"{file} (or a file it names in _BASE_) is no safe YAML: {where}"
        raise ConfigError(message) from None
    except (AssertionError, OSError, ValueError) as error:
        raise ConfigError(f"{file}: {error}") from None
    if not isinstance(values, Mapping):
        raise ConfigError(f"{file}: expected a mapping of keys, found {type(values).__name__}")
    return dict(values)


def _check_chain(file: Path, before: tuple[Path, ...]) -> None:
    """Refuses files that would never end or fill the memory: `_BASE_` rings, bombs of aliases.

    What is missing or no YAML is left to the reader, which says so better.
    """
    file = file.absolute()
    if file.resolve() in before:
        raise ConfigError(f"{file}: _BASE_ leads back to this file; remove it from one of them")
    if not file.is_file():
        return
    if file.stat().st_size > _MAX_FILE:
        raise ConfigError(f"{file}: larger than {_MAX_FILE} bytes, no configuration file")
    try:
        text = file.read_text()
        _check_bombs(file, text)
        values = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError, TypeError):
        return
    if not isinstance(values, Mapping):
        raise ConfigError(f"{file}: expected a mapping of keys, found {type(values).__name__}")
    base = values.get("_BASE_", [])
    for name in base if isinstance(base, list) else [base]:
        if not isinstance(name, str) or not name:
            raise ConfigError(f"{file}: _BASE_ is {base!r:.60}; expected the name of a YAML file")
        if "://" not in name:
            _check_chain(file.parent / Path(name).expanduser(), (*before, file.resolve()))


def _check_bombs(file: Path, text: str) -> None:
    """Refuses many aliases and deep nesting, before anything is built of them."""
    aliases = depth = 0
    for event in yaml.parse(text):
        aliases += isinstance(event, yaml.AliasEvent)
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if aliases > _MAX_ALIASES:
            raise ConfigError(f"{file}: more than {_MAX_ALIASES} YAML aliases; write values out")
        if depth > _MAX_DEPTH:
            raise ConfigError(f"{file}: nested too deeply for a configuration")
