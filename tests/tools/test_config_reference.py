"""The page of configuration keys is complete and up to date."""

import re
import subprocess
import sys
from collections.abc import Iterator

from detectron2.config import CfgNode, get_cfg

from dvis_daq.config import get_config
from tests.conftest import ROOT
from tools import config_reference

PAGE = ROOT / "docs" / "configuration.md"


def _leaves(node: CfgNode, prefix: str = "") -> Iterator[str]:
    for name, value in node.items():
        if isinstance(value, CfgNode) and not value.is_new_allowed():
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _documented() -> set[str]:
    found, group = set(), ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            group = "".join(re.findall(r"`(.*)`", line))
        elif row := re.match(r"\| `(\w+)` \|", line):
            found.add(f"{group}.{row[1]}".lstrip("."))
    return found


def test_every_key_of_ours_is_on_the_page() -> None:
    ours = set(_leaves(get_config())) - set(_leaves(get_cfg()))
    assert ours - _documented() == set()
    assert _documented() - set(_leaves(get_config())) == set()


def test_page_is_up_to_date() -> None:
    assert config_reference.page(config_reference.SOURCE.read_text()) == PAGE.read_text()


def test_command_and_comments() -> None:
    script = ROOT / "tools" / "config_reference.py"
    assert subprocess.run([sys.executable, script, "--check"], check=False).returncode == 0
    page = config_reference.page("def _add_x(cfg):\n    cfg.A = 1  # what\n")
    assert "| `A` | `1` | what |" in page
