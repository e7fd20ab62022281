"""The report as a reader uses it, in headless Chromium, from file://."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from dvis_daq.evaluation.scoring import score
from dvis_daq.metrics.reading import parse_results
from dvis_daq.report import ClipView, clip_data, render
from tests.browser.chromium import chromium, console
from tests.conftest import ROOT
from tests.unit.report.scene import EVIL, FRAMES, content, pictures, truth

TEMPLATES = ROOT / "dvis_daq" / "report" / "templates"


def full_page() -> str:
    """A report with everything in it, twice the same clip, and a class name that is markup."""
    clip = clip_data(ClipView(content(), pictures(), truth()), budget=1_000_000)
    entries = [
        {"video_id": 7, "category_id": n, "score": track.score,
         "segmentations": [track.mask(t) for t in range(FRAMES)]}
        for n, track in zip((1, 3, 1), content().tracks, strict=True)
    ]  # fmt: skip
    missed = [
        {
            "video_id": 7,
            "object_id": 3,
            "category_id": 2,
            "frame": 4,
            "verdict": "removed",
            "rule": "SCORE",
        }
    ]
    figures = score(truth(), parse_results(entries, truth()), events=True) | {
        "missed_emergences": missed
    }
    curve = [(i, 5 / (i + 1)) for i in range(50)]
    runs = [
        (EVIL, {"total_loss": curve, "loss_ce": curve, "loss_ce_0": curve, "segm/AP": [(49, 3.5)]}),
        ("tracker", {"total_loss": [(0, 9.0), (49, None)], "lr": [(i, 1e-4) for i in range(9)]}),
    ]
    return render(EVIL, clips=[clip, {**clip, "name": "other"}], figures=figures, runs=runs)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as driver:
        yield driver


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(full_page())
    return path.as_uri()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """Freshly loaded; whatever a test does, the console stays empty and no script got in."""
    browser.get("about:blank")
    browser.get(address)
    yield browser
    assert console(browser) == []
    assert js(browser, "return document.querySelectorAll('img').length") == 0


def js(page: Any, script: str, *arguments: Any) -> Any:
    return page.execute_script(script, *arguments)


def click(page: Any, selector: str) -> None:
    page.find_element("css selector", selector).click()


def texts(page: Any, selector: str) -> list[str]:
    return [one.text for one in page.find_elements("css selector", selector) if one.is_displayed()]


def press(page: Any, *keys: str) -> None:
    from selenium.webdriver import ActionChains

    ActionChains(page).send_keys(*keys).perform()


def frame(page: Any) -> int:
    return int(page.find_element("id", "counter").text.split(" / ")[0])


def pixel(page: Any, x: float, y: float) -> list[int]:
    """RGB of the canvas at a place of the video."""
    return js(
        page,
        "const c = document.getElementById('canvas');"
        "return [...c.getContext('2d').getImageData(arguments[0] * c.width / 128,"
        " arguments[1] * c.height / 96, 1, 1).data].slice(0, 3)",
        *(x, y),
    )


def test_all_is_there(page: Any) -> None:
    assert page.title == EVIL and page.find_element("id", "title").text == EVIL
    assert texts(page, "[role=tab]") == ["Video", "Evaluation", "Training"]
    assert texts(page, "#summary span")[:2] == ["10 frames", "3 tracks"]
    assert texts(page, "#classes .chip span") == [EVIL, "disc", "square"]
    assert texts(page, "#timeline [data-track] .name b") == ["#1", "#2", "#5"]
    assert len(texts(page, "#timeline [data-object]")) == 1
    events = [" ".join(text.split()) for text in texts(page, "#events li")]
    assert events == [f"3 #2 {EVIL} born", f"5 #2 {EVIL} hidden", "6 #5 disc born",
                      f"7 #2 {EVIL} back", f"9 #2 {EVIL} gone"]  # fmt: skip
    assert texts(page, "#truth .tile b") == ["2 / 3", "1 / 2", "0", "0", "1"]


def test_a_bar_and_an_event_jump(page: Any) -> None:
    click(page, '[data-track="2"] .bar.hidden')
    assert frame(page) == 5
    click(page, '#events li[data-frame="7"] button')
    assert frame(page) == 7
    click(page, '[data-track="1"] .bar')
    assert frame(page) == 0
    click(page, "#truth tbody tr:nth-child(3) button.mark")
    assert frame(page) == 4
    assert js(page, "return document.querySelector('[data-layer=truth]').ariaPressed") == "true"


def test_masks_are_drawn_where_they_are_and_can_be_switched_off(page: Any) -> None:
    click(page, '#events li[data-frame="3"] button')
    inside, outside = (50, 50), (120, 90)  # the second track is at x 36..60, y 40..60
    tinted, bare = pixel(page, *inside), pixel(page, *outside)
    assert max(tinted) - min(tinted) > 40 and max(bare) - min(bare) < 12
    click(page, '[data-track="2"] .eye')
    switched_off = pixel(page, *inside)
    assert max(switched_off) - min(switched_off) < 12 and min(switched_off) > 200
    click(page, "#show-all")
    assert pixel(page, *inside) == tinted
    click(page, "#hide-all")
    assert pixel(page, *inside) == switched_off


def test_class_filter_and_score(page: Any) -> None:
    click(page, '#classes [data-class="disc"]')
    assert texts(page, "#timeline [data-track] .name b") == ["#2"]
    assert len(texts(page, "#events li")) == 4
    assert len(texts(page, "#truth tbody tr")) == 2
    click(page, '#classes [data-class="square"]')
    assert texts(page, "#timeline [data-object]") == []
    click(page, '#classes [data-class="disc"]')
    js(
        page,
        "const s = document.getElementById('score'); s.value = 0.85; s.dispatchEvent(new Event('input'))",
    )
    assert texts(page, "#timeline [data-track] .name b") == ["#1"]
    assert page.find_element("id", "track-count").text == "1 track"


def test_keys(page: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    press(page, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert frame(page) == 2
    press(page, "n")
    assert frame(page) == 3
    press(page, "n", "n", "p")
    assert frame(page) == 5
    press(page, Keys.END)
    assert frame(page) == 9
    press(page, Keys.HOME, Keys.ARROW_LEFT)
    assert frame(page) == 0
    press(page, "g", "2")
    assert texts(page, "[role=tab][aria-selected=true]") == ["Evaluation"]
    press(page, "1", "?")
    assert page.find_element("id", "help").is_displayed()
    press(page, Keys.ESCAPE)
    assert not page.find_element("id", "help").is_displayed()


def test_playing_moves_and_stops(page: Any) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    press(page, " ")
    WebDriverWait(page, 10, poll_frequency=0.05).until(lambda _: frame(page) >= 2)
    press(page, " ")
    stopped = frame(page)
    js(page, "return new Promise((done) => setTimeout(done, 500))")
    assert frame(page) == stopped


def test_the_tab_key_and_arrows_reach_every_row(page: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    js(page, "document.querySelector('#timeline .row .name').focus()")
    press(page, Keys.ARROW_DOWN)
    assert js(page, "return document.activeElement.closest('.row').dataset.track") == "2"
    press(page, Keys.TAB, Keys.TAB, Keys.ENTER)  # its second bar
    assert frame(page) == 5
    press(page, "h")
    assert "off" in page.find_element("css selector", '[data-track="2"]').get_attribute("class")
    nameless = js(page, "return [...document.querySelectorAll('button, select, input')].filter((b) => "
                  "!(b.ariaLabel || b.textContent.trim() || b.title || b.labels?.length))"
                  ".map((b) => b.outerHTML)")  # fmt: skip
    assert nameless == []  # everything has a name to be read out


def test_another_clip(page: Any) -> None:
    click(page, '[data-track="2"] .eye')
    js(
        page,
        "const c = document.getElementById('clip'); c.value = 1; c.dispatchEvent(new Event('change'))",
    )
    assert frame(page) == 0
    assert page.find_elements("css selector", ".row.off") == []


def test_evaluation(page: Any) -> None:
    click(page, "#tab-evaluation")
    shown = page.find_element("id", "panel-evaluation").text
    assert "Average precision" in shown and "Missed emergences (1)" in shown
    rows = texts(page, "table[aria-label='Figures by class'] tbody tr")
    assert len(rows) == 3 and rows[0].startswith(EVIL)
    assert rows[1].split() == ["disc", *["100.0"] * 4] and rows[2].split()[1] == "0.0"
    click(page, "details summary")
    click(page, "details button.mark")
    assert texts(page, "[role=tab][aria-selected=true]") == ["Video"] and frame(page) == 4


def test_training(page: Any) -> None:
    click(page, "#tab-training")
    assert texts(page, ".chart figcaption b") == ["total_loss", "loss_ce", "lr"]
    assert len(page.find_elements("css selector", "[data-name=total_loss] .line")) == 2
    click(page, "[data-option=layers]")
    assert "loss_ce_0" in texts(page, ".chart figcaption b")
    click(page, "[data-option=log]")
    click(page, "#panel-training .chip")  # the first run
    assert texts(page, ".chart figcaption b") == ["total_loss", "lr"]
    paths = js(
        page,
        "return [...document.querySelectorAll('.line')].map((l) => l.getAttribute('d')).join()",
    )
    assert "NaN" not in paths and "Infinity" not in paths


def background(page: Any) -> str:
    return js(page, "return getComputedStyle(document.body).backgroundColor")


def test_light_and_dark(page: Any) -> None:
    def prefer(scheme: str) -> None:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    prefer("light")
    light = background(page)
    prefer("dark")
    dark = background(page)
    assert light != dark
    press(page, "t")
    assert background(page) == light  # what the reader chose wins
    prefer("light")
    assert background(page) == light
    press(page, "t")
    assert background(page) == dark


def test_nothing_sticks_out_of_a_narrow_window(page: Any) -> None:
    size = {"width": 390, "height": 800, "deviceScaleFactor": 2, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        for tab in ("video", "evaluation", "training"):
            click(page, f"#tab-{tab}")
            assert js(page, "return document.documentElement.scrollWidth") <= 390, tab
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_run_lengths_are_read_as_pycocotools_writes_them(browser: Any) -> None:
    rng = np.random.default_rng(0)
    scripts = (TEMPLATES / "outline.js").read_text()
    masks = [rng.random((17, 23)) < p for p in (0.0, 0.02, 0.5, 1.0)]
    big = np.zeros((300, 400), bool)
    big[5:290, 3:390] = True
    for mask in [*masks, big]:
        counts = coco_mask.encode(np.asfortranarray(mask, np.uint8))["counts"].decode()
        flat = js(
            browser,
            scripts + "return [...readMask(...arguments).mask].join('')",
            counts,
            *mask.shape,
        )
        framed = np.array([int(c) for c in flat]).reshape(mask.shape[1] + 2, mask.shape[0] + 2).T
        assert np.array_equal(framed[1:-1, 1:-1], mask)
        assert framed.sum() == mask.sum()


def test_scripts_without_clips(browser: Any, tmp_path: Path) -> None:
    for name, more in (
        ("runs", {"runs": [("a", {"loss": [(1, 2.0)]})]}),
        ("figures", {"figures": {"AP": 0.5}}),
    ):
        path = tmp_path / f"{name}.html"
        path.write_text(render(name, **more))
        browser.get(path.as_uri())
        assert len(texts(browser, "[role=tab]")) == 1 and console(browser) == []
    assert (
        json.loads(js(browser, "return document.getElementById('data').textContent"))["title"]
        == "figures"
    )
