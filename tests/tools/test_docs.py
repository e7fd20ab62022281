"""Commands in the documentation: scripts, options, files and keys exist; walkthroughs run."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from dvis_daq.config import get_config
from tests.conftest import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("datasets/*.md")])
# Options of Detectron2's `default_argument_parser`, and of Python itself.
COMMON = {"--help", "--config-file", "--resume", "--eval-only", "--num-gpus", "--num-machines",
          "--machine-rank", "--dist-url"}  # fmt: skip
KEY = re.compile(r"[A-Z][A-Z0-9_]*(\.[A-Z0-9_]+)+|SEED|CPU_THREADS|OUTPUT_DIR")


class Command(NamedTuple):
    page: str
    line: int
    words: tuple[str, ...]


def _commands(page: Path) -> list[Command]:
    """Every call of a Python script in a fenced block, with its continuation lines."""
    found, inside, text, start = [], False, "", 0
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip().startswith("```"):
            inside, text = not inside, ""
            continue
        if not inside:
            continue
        start, text = (start, text) if text else (number, "")
        text += line.removesuffix("\\")
        if line.endswith("\\"):
            continue
        if re.match(r"\s*(\$ )?([A-Z_]+=\S+ )*(python|torchrun) ", text):
            words = tuple(shlex.split(text, comments=True))
            found.append(Command(page.relative_to(ROOT).as_posix(), start, words))
        text = ""
    return found


COMMANDS = [command for page in PAGES for command in _commands(page)]


@cache
def _source(script: str) -> str:
    """A script, and for what it is made of, all scripts' shared parts."""
    return (ROOT / script).read_text(encoding="utf-8")


def _scripts(command: Command) -> list[str]:
    return [word for word in command.words if word.endswith(".py") and "/" in word]


def test_commands_are_found() -> None:
    assert len(COMMANDS) > 30
    assert {script for c in COMMANDS for script in _scripts(c)} >= {
        "tools/train_net.py", "tools/eval.py", "tools/demo.py", "datasets/make_synthetic.py",
    }  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: f"{c.page}:{c.line}")
def test_command_names_what_exists(command: Command) -> None:
    where = f"{command.page}, line {command.line}"
    for script in _scripts(command):
        assert (ROOT / script).is_file(), f"{where}: {script} does not exist"
        options = {w.partition("=")[0] for w in command.words if w.startswith("--")}
        for option in options - COMMON:
            if command.words[0].endswith("torchrun"):
                continue
            assert f'"{option}"' in _source(script), f"{where}: {script} has no {option}"
    for config in re.findall(r"configs/[\w/]+\.yaml", " ".join(command.words)):
        assert (ROOT / config).is_file(), f"{where}: {config} does not exist"


@cache
def _known_keys() -> frozenset[str]:
    found: set[str] = set()

    def walk(node: dict, prefix: str) -> None:
        for name, value in node.items():
            found.add(prefix + name)
            if isinstance(value, dict):
                walk(value, f"{prefix}{name}.")

    walk(get_config(), "")
    return frozenset(found)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: f"{c.page}:{c.line}")
def test_command_sets_known_keys(command: Command) -> None:
    keys = {w.partition("=")[0] for w in command.words if KEY.fullmatch(w.partition("=")[0])}
    keys = {key for key in keys if not key.startswith("MODEL.TIMM.ARGS.")}
    assert keys - _known_keys() == set(), f"{command.page}, line {command.line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", text):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
