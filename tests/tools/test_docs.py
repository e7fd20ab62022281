"""Commands in the documentation: scripts, options, files and keys exist; walkthroughs run."""

from __future__ import annotations

import argparse
import os
import re
import runpy
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from dvis_daq.config import get_config
from tests.conftest import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("datasets/*.md")])
KEY = re.compile(r"[A-Z][A-Z0-9_]*(\.[A-Z0-9_]+)+|SEED|CPU_THREADS|OUTPUT_DIR")


class Command(NamedTuple):
    """A call in a document."""

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
def _options(script: str) -> frozenset[str]:
    """All option strings that a script defines, its subcommands' included."""
    found = {"--help"}
    add_argument = argparse.ArgumentParser.add_argument

    def record(self, *names, **how):
        action = add_argument(self, *names, **how)
        found.update(action.option_strings)
        return action

    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as stop:
        patch.setattr(argparse._ActionsContainer, "add_argument", record)
        patch.setattr(sys, "argv", [str(ROOT / script), "--help"])
        runpy.run_path(str(ROOT / script), run_name="__main__")
    assert not stop.value.code, f"{script} --help failed"
    return frozenset(found)


def _scripts(command: Command) -> list[str]:
    return [word for word in command.words if word.endswith(".py") and "/" in word]


def test_commands_are_found() -> None:
    assert len(COMMANDS) > 20
    assert {script for c in COMMANDS for script in _scripts(c)} >= {
        "tools/train_net.py", "tools/eval.py", "tools/demo.py", "datasets/make_synthetic.py",
    }  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: f"{c.page}:{c.line}")
def test_command_names_what_exists(command: Command) -> None:
    where = f"{command.page}, line {command.line}"
    for script in _scripts(command):
        assert (ROOT / script).is_file(), f"{where}: {script} does not exist"
        after = command.words[command.words.index(script) :]
        given = {w.partition("=")[0] for w in after if w.startswith("--")}
        assert given - _options(script) == set(), f"{where}: {script} has no such option"
    for config in re.findall(r"configs/[\w/]+\.yaml", " ".join(command.words)):
        if not config.endswith("CONFIG.yaml"):  # a placeholder
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


@pytest.mark.slow
@pytest.mark.parametrize("name", ["getting_started.md", "custom_data.md"])
def test_walkthrough_runs(name: str, tmp_path: Path) -> None:
    """Every `bash` block of the page in order, with the YAML files that it shows."""
    for folder in ("configs", "tools", "datasets", "dvis_daq"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    for kind, text in re.findall(r"^```(bash|yaml)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        if kind == "yaml":
            (tmp_path / text.partition("\n")[0].lstrip("# ")).write_text(text)
            continue
        done = subprocess.run(
            ["bash", "-euc", text], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{text}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
