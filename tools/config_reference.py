#!/usr/bin/env python
"""Writes docs/configuration.md: every key of `dvis_daq/config.py` with default and comment.

Examples:
  after a change of config.py:
    python tools/config_reference.py
  tell whether the page is up to date (exit status 1 if not):
    python tools/config_reference.py --check
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # runs from a plain checkout

SOURCE = ROOT / "dvis_daq" / "config.py"
PAGE = ROOT / "docs" / "configuration.md"
HEAD = """\
# Configuration

Every key that this package adds to Detectron2's, or whose default it changes. A key is set in a
YAML file (which may name another one as its `_BASE_`) or on the command line, as `KEY VALUE` pairs
at the end. Unknown keys and values of the wrong type are refused.

This page is made from `dvis_daq/config.py` by `python tools/config_reference.py`.
"""


class Key(NamedTuple):
    """One key, or a group of keys."""

    name: str  # in full
    default: str  # as written; empty for a group
    comment: str


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="only compare")
    options = parser.parse_args(arguments)
    text = page(SOURCE.read_text(encoding="utf-8"))
    if not options.check:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text:
        raise SystemExit(f"error: {PAGE} is out of date; run python tools/config_reference.py")


def page(source: str) -> str:
    """The whole page."""
    groups: dict[str, list[Key]] = {}
    about: dict[str, str] = {}
    for key in keys(source):
        if key.default:
            groups.setdefault(key.name.rpartition(".")[0], []).append(key)
        else:
            about[key.name] = f"{key.comment}\n\n" if key.comment else ""
    sections = [
        f"\n## {f'`{group}`' if group else 'Without a group'}\n\n{about.get(group, '')}"
        "| key | default | |\n|---|---|---|\n" + "".join(map(_row, members))
        for group, members in groups.items()
    ]
    return HEAD + "".join(sections)


def keys(source: str) -> Iterator[Key]:
    """The keys and groups that the functions of config.py make, in their order."""
    lines = source.splitlines()
    for function in ast.parse(source).body:
        if not (isinstance(function, ast.FunctionDef) and function.name.startswith("_add_")):
            continue
        names = {"cfg": ""}  # local variable -> the node of the configuration that it holds
        for statement in function.body:
            if isinstance(statement, ast.Assign):
                yield from _assigned(statement, names, lines)


def _assigned(statement: ast.Assign, names: dict[str, str], lines: list[str]) -> Iterator[Key]:
    """Follows `a = b.C`; yields `a.KEY = value` and `a = b.C = CfgNode()`."""
    paths = [_path(target, names) for target in statement.targets]
    known = [path for path in (*paths, _path(statement.value, names)) if path is not None]
    aliases = [target.id for target in statement.targets if isinstance(target, ast.Name)]
    names.update(dict.fromkeys(aliases, known[0] if known else ""))
    if _is_node(statement.value):
        yield Key(known[0], "", _comment(statement, lines))
    elif not aliases and paths[0]:
        yield Key(paths[0], ast.unparse(statement.value), _comment(statement, lines))


def _path(node: ast.expr, names: dict[str, str]) -> str | None:
    """`variable.A.B` as a full key; None for anything else."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        start = _path(node.value, names)
        return None if start is None else f"{start}.{node.attr}".lstrip(".")
    return None


def _is_node(value: ast.expr) -> bool:
    """Whether it is an empty group of keys; one that takes any key is a value."""
    return isinstance(value, ast.Call) and not value.keywords


def _comment(statement: ast.Assign, lines: list[str]) -> str:
    """The comment behind a statement, or else the comment lines above it."""
    behind = lines[(statement.end_lineno or 0) - 1][statement.end_col_offset or 0 :].strip()
    if behind.startswith("#"):
        return behind.lstrip("# ")
    above: list[str] = []
    for line in reversed(lines[: statement.lineno - 1]):
        if not line.strip().startswith("#"):
            break
        above.insert(0, line.strip().lstrip("# "))
    return " ".join(above)


def _row(key: Key) -> str:
    last = key.name.rpartition(".")[2]
    default, comment = (text.replace("|", "\\|") for text in (key.default, key.comment))
    return f"| `{last}` | `{default}` | {comment} |\n"


if __name__ == "__main__":
    main()
