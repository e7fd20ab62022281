"""The document: one file, nothing from outside, nothing of the data is markup."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from html.parser import HTMLParser

import pytest

from dvis_daq.report import render
from dvis_daq.report.json_text import as_json
from dvis_daq.report.page import SCRIPTS

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)>{{script}}&\u2028"


class Parts(HTMLParser):
    """Tags with their attributes, and the texts of scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {"script": [], "style": [], "title": []}
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag in self.texts:
            self.texts[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, text: str) -> None:
        if self._inside in self.texts:
            self.texts[self._inside][-1] += text


def page(title: str = "clip") -> str:
    return render(title, runs=[(title, {"total_loss": [(1, 2.0), (2, None)]})])


def test_data_are_read_back() -> None:
    parts = Parts(page(EVIL))
    found = json.loads(parts.texts["script"][0])
    assert found["title"] == EVIL and found["runs"][0]["name"] == EVIL
    assert found["runs"][0]["curves"] == {"total_loss": [[1, 2.0], [2, None]]}


def test_names_are_never_markup() -> None:
    plain, evil = Parts(page()), Parts(page(EVIL))
    assert [tag for tag, _ in plain.tags] == [tag for tag, _ in evil.tags]
    assert html.unescape(evil.texts["title"][0]) == EVIL
    assert plain.texts["script"][1] == evil.texts["script"][1]


def test_the_policy_admits_this_script_and_style_alone() -> None:
    parts = Parts(page())
    (policy,) = [a["content"] for t, a in parts.tags if t == "meta" and "http-equiv" in a]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'" and rules["img-src"] == "data:"
    for kind, text in (("script", parts.texts["script"][1]), ("style", parts.texts["style"][0])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[f"{kind}-src"] == f"'sha256-{digest}'"


def test_nothing_is_loaded_from_anywhere() -> None:
    text = page()
    outside = set(re.findall(r"[a-z]+://[^'\"`\s)]+", text)) - {"http://www.w3.org/2000/svg"}
    assert outside == set()
    for tag, attributes in Parts(text).tags:
        for name in ("src", "href", "action", "srcset"):
            assert (attributes.get(name) or "data:").startswith("data:"), tag
        assert not any(name.startswith("on") or name == "style" for name in attributes), tag


def test_every_script_is_used_and_none_builds_markup_from_text() -> None:
    from importlib.resources import files

    folder = files("dvis_daq.report") / "templates"
    names = {file.name for file in folder.iterdir()}
    assert names == {"report.html", "report.css", *SCRIPTS}
    for name in SCRIPTS:
        text = (folder / name).read_text()
        for way in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "fetch(",
        ):
            assert way not in text, (name, way)


def test_an_empty_report_and_numbers_that_are_none() -> None:
    with pytest.raises(ValueError, match="would be empty"):
        render("clip")
    with pytest.raises(ValueError):
        as_json({"score": float("nan")})
