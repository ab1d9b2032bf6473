"""The report in a real browser: nothing is fetched, nothing goes wrong, and eyes, fingers, keys and ears can use it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from edgexfer.gate.report.page import report
from tests import chromium
from tests.gate.report.made import LABELS, full, made_bundle, made_checkpoint, measured, put_images, verdicts

pytest.importorskip("matplotlib", reason="matplotlib is not installed (pip install 'edgexfer[report]')")
pytestmark = pytest.mark.skipif(chromium.PROGRAM is None, reason="Chromium is not installed (apt-get install chromium)")

MANY = tuple(f"speed limit {i} with a long name" for i in range(43))

# For every text that can be seen: its colour, what lies behind it, and how large it is.
CONTRASTS = """
(() => {
  const parse = c => { const m = c.match(/[\\d.]+/g).map(Number); return m.length < 4 ? [...m, 1] : m; };
  const over = (top, low) => [0, 1, 2].map(i => top[i] * top[3] + low[i] * (1 - top[3])).concat(1);
  const linear = v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = c => { const f = c.slice(0, 3).map(v => linear(v / 255));
    return .2126 * f[0] + .7152 * f[1] + .0722 * f[2]; };
  const behind = e => {
    const all = [];
    for (let x = e; x; x = x.parentElement) all.push(parse(getComputedStyle(x).backgroundColor));
    return all.reverse().reduce((low, top) => over(top, low), [255, 255, 255, 1]); };
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement, text = walk.currentNode.data.trim();
    if (!text || !e.checkVisibility() || e.closest('.hidden, style, title, desc')) continue;
    const style = getComputedStyle(e), drawn = e.closest('svg');
    const low = behind(drawn ? drawn.parentElement : e), top = over(parse(drawn ? style.fill : style.color), low);
    const [a, b] = [light(top), light(low)].sort((p, q) => q - p);
    found.push([Math.round(100 * (a + .05) / (b + .05)) / 100, text.slice(0, 40)]);
  }
  return found.sort((p, q) => p[0] - q[0]);
})()
"""


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Tab]:
    with chromium.browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pages of everything there is: a bundle with verdicts and pictures, one of many classes, a checkpoint."""
    folder = tmp_path_factory.mktemp("pages")
    bundle = full(made_bundle(folder / "tiny.edgx"))
    data = put_images(folder / "data")
    many = made_bundle(folder / "many.edgx", measured("int8", 12, labels=MANY), labels=MANY)
    run = made_checkpoint(folder / "run", metrics={"test": {"top1": 0.95, "confusion": [[9, 1], [0, 10]]}})
    return {
        "bundle": report(bundle, folder / "bundle.html", data=data, gate=verdicts(bundle)),
        "many": report(many, folder / "many.html"),
        "checkpoint": report(run, folder / "checkpoint.html"),
    }


@pytest.mark.parametrize("name", ["bundle", "many", "checkpoint"])
def test_no_request_leaves_the_page_and_the_console_stays_empty(
    tab: chromium.Tab, pages: dict[str, Path], name: str
) -> None:
    tab.open(pages[name])
    for details in ("true", "false"):  # what is inside is laid out when it is opened
        tab.ask(f"document.querySelectorAll('details').forEach(e => e.open = {details})")
    tab.settle()
    asked = [e["request"]["url"] for method, e in tab.events if method == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith("data:image/jpeg;base64,") and url != "data:,"] == [
        pages[name].as_uri()
    ]
    assert [e for e in tab.events if e[0] in ("Network.loadingFailed", "Runtime.exceptionThrown")] == []
    entries = [e["entry"] for method, e in tab.events if method == "Log.entryAdded"]
    entries += [e for method, e in tab.events if method == "Runtime.consoleAPICalled"]
    assert entries == []
    assert tab.ask("document.scripts.length") == 0
    assert tab.ask("[...document.images].every(i => i.complete && i.naturalWidth > 0)")


def test_the_content_security_policy_lets_nothing_through(tab: chromium.Tab, pages: dict[str, Path]) -> None:
    tab.open(pages["checkpoint"])
    tab.ask(
        "new Promise(done => { const i = new Image(); i.onerror = i.onload = done; i.src = 'http://127.0.0.1:9/'; })"
    )
    assert any(method == "Log.entryAdded" and e["entry"]["source"] == "security" for method, e in tab.events)


@pytest.mark.parametrize("name", ["bundle", "many", "checkpoint"])
@pytest.mark.parametrize("width", [320, 360, 800, 1280])
def test_the_page_is_never_wider_than_the_window(
    tab: chromium.Tab, pages: dict[str, Path], name: str, width: int
) -> None:
    tab.open(pages[name], width=width)
    tab.ask("document.querySelectorAll('details').forEach(e => e.open = true)")
    assert tab.ask("document.documentElement.scrollWidth") == width
    beyond = tab.ask(
        "[...document.querySelectorAll('body *')].filter(e => e.checkVisibility()"
        " && !e.closest('.scroll, .hidden, .skip, svg')"
        " && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 90))"
    )
    assert beyond == []


@pytest.mark.parametrize("name", ["bundle", "many", "checkpoint"])
def test_every_text_has_enough_contrast_in_both_schemes(tab: chromium.Tab, pages: dict[str, Path], name: str) -> None:
    """WCAG 2.2, 1.4.3: 4.5 to 1."""
    for dark in (False, True):
        tab.open(pages[name], dark=dark)
        tab.ask("document.querySelectorAll('details').forEach(e => e.open = true)")
        found = tab.ask(CONTRASTS)
        assert len(found) > 50
        assert [entry for entry in found if entry[0] < 4.5] == []


def test_the_scheme_follows_the_reader_and_can_be_chosen(tab: chromium.Tab, pages: dict[str, Path]) -> None:
    seen = (
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.querySelector('svg text')).fill]"
    )
    tab.open(pages["bundle"])
    light = tab.ask(seen)
    tab.scheme(dark=True)
    dark = tab.ask(seen)
    assert light[0] != dark[0]
    assert light[1] != dark[1]
    tab.ask("document.getElementById('theme-light').click()")
    assert tab.ask(seen) == light
    tab.scheme(dark=False)
    tab.ask("document.getElementById('theme-dark').click()")
    assert tab.ask(seen) == dark
    tab.scheme(dark=True, media="print")
    assert tab.ask(seen)[1] == light[1]


def test_the_keyboard_reaches_everything(tab: chromium.Tab, pages: dict[str, Path]) -> None:
    tab.open(pages["bundle"])
    reached: list[str] = []
    for _ in range(200):
        tab.press("Tab")
        place = "document.activeElement"
        name = tab.ask(f"{place}.tagName + ' ' + ({place}.id || {place}.getAttribute('href') || {place}.textContent)")
        if name.startswith("BODY"):
            break
        reached.append(name)
        assert tab.ask(f"getComputedStyle({place}.closest('label') || {place}).outlineStyle") != "none", name
    assert reached[0] == "A #main"
    links, summaries = (tab.ask(f"document.querySelectorAll('{tag}').length") for tag in ("a", "summary"))
    assert sum(name.startswith("A ") for name in reached) == links
    assert sum(name.startswith("SUMMARY ") for name in reached) == summaries
    tab.ask("document.querySelector('summary').focus()")
    tab.press("Enter")
    assert tab.ask("document.querySelector('details').open")


def test_a_screen_reader_finds_headings_tables_and_named_figures(tab: chromium.Tab, pages: dict[str, Path]) -> None:
    tab.open(pages["bundle"])
    tab.ask("document.querySelectorAll('details').forEach(e => e.open = true)")
    nodes = [n for n in tab.call("Accessibility.getFullAXTree")["nodes"] if not n.get("ignored")]
    found: dict[str, list[str]] = {}
    for node in nodes:
        found.setdefault(_value(node, "role"), []).append(_value(node, "name"))
    for landmark in ("main", "banner", "navigation", "contentinfo"):
        assert len(found.get(landmark, [])) == 1, landmark
    figures = tab.ask("document.querySelectorAll('svg').length")
    named = [name for name in found["image"] if name]
    pictures = tab.ask("document.querySelectorAll('.picture').length")
    assert figures >= 10
    assert len(named) == len(found["image"]) == figures + pictures
    assert any(name.startswith("Where the time goes Bars of the medians") for name in named)
    assert any(name.startswith(f"An image of {LABELS[1]}, ") for name in named)
    tables = tab.ask("document.querySelectorAll('table').length")
    assert len(found["table"]) == tables
    assert all(found["table"])
    assert len(found["rowheader"]) > 50
    levels = tab.ask("[...document.querySelectorAll('h1, h2, h3')].map(e => +e.tagName[1])")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert len(found["heading"]) == len(levels)
    assert tab.ask("document.documentElement.lang") == "en"


def test_print_shows_what_was_folded(tab: chromium.Tab, pages: dict[str, Path]) -> None:
    tab.open(pages["checkpoint"])
    shown = "document.querySelector('details table').checkVisibility({contentVisibilityAuto: true})"
    height = "document.querySelector('details table').getBoundingClientRect().height"
    assert not tab.ask(shown)
    tab.scheme(dark=False, media="print")
    assert tab.ask(shown)
    assert tab.ask(height) > 50


def _value(node: dict[str, Any], key: str) -> str:
    return str(node.get(key, {}).get("value", ""))
