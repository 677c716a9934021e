"""The page in a real browser: nothing overflows, nothing is fetched, nothing complains, and it is not blank."""

import io

import browser
import numpy as np
import pytest
import synthetic
from PIL import Image

from ironbind.report import write_report

pytestmark = [
    pytest.mark.chromium,
    pytest.mark.skipif(browser.EXECUTABLE is None, reason="no chromium or google-chrome on PATH"),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    shown = [one for one in synthetic.INPUTS if one[0] not in ("video", "thermal")]  # as pictures are
    return write_report(synthetic.write_run(tmp_path_factory.mktemp("run"), synthetic.result(inputs=shown)))


@pytest.fixture(scope="module")
def tab():
    with browser.Browser() as one:
        yield one


def complaints(tab):
    kinds = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded", "Network.loadingFailed")
    return [event for event in tab.events if event.get("method") in kinds]


def fetched(tab):
    """URLs requested that are neither the page itself nor inside it."""
    urls = [
        event["params"]["request"]["url"] for event in tab.events if event.get("method") == "Network.requestWillBeSent"
    ]
    return [url for url in urls if not url.startswith("data:") and not url.endswith("report.html")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 380])
def test_renders(tab, page, width, scheme):
    tab.open(page, width, scheme)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert complaints(tab) == []
    assert fetched(tab) == []
    pixels = np.asarray(Image.open(io.BytesIO(tab.whole_page())).convert("RGB")).astype(int)
    assert pixels.shape[1] == width
    assert pixels.shape[0] > 4000
    background = pixels[2, 2]
    assert (background.mean() < 60) == (scheme == "dark")
    busy = (np.abs(pixels - background).sum(-1) > 40).any(1)
    blank_runs = np.diff(np.flatnonzero(np.concatenate([[True], busy, [True]])))
    assert blank_runs.max() < 500  # no screenful of nothing


def test_open_details_do_not_overflow(tab, page):
    tab.open(page, 380)
    tab.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 380


def test_pictures_and_sounds_load(tab, page):
    tab.open(page, 1280)
    assert tab.evaluate("[...document.images].every(one => one.complete && one.naturalWidth > 0)")
    durations = tab.evaluate(
        "Promise.all([...document.querySelectorAll('audio')].map(one => one.readyState > 0 ? one.duration : "
        "new Promise((resolve, reject) => {"
        "one.onloadedmetadata = () => resolve(one.duration); one.onerror = () => reject(one.error.message) })))"
    )
    assert len(durations) == 4
    assert durations == pytest.approx([8192 / 8000] * 4, abs=0.01)


def test_clouds_turn_when_dragged(tab, page):
    tab.open(page, 1280)
    count = tab.evaluate("document.querySelectorAll('.drawn canvas').length")
    assert count == 3
    before = tab.evaluate("document.querySelector('.drawn canvas').toDataURL()")
    tab.evaluate("document.querySelector('.drawn canvas').scrollIntoView({block: 'center', behavior: 'instant'})")
    box = tab.evaluate(
        "(({x, y, width, height}) => ({x: x + width / 2, y: y + height / 2}))"
        "(document.querySelector('.drawn canvas').getBoundingClientRect())"
    )
    for kind, dx in (("mousePressed", 0), ("mouseMoved", 30), ("mouseMoved", 60), ("mouseReleased", 60)):
        tab.call(
            "Input.dispatchMouseEvent", type=kind, x=box["x"] + dx, y=box["y"], button="left", buttons=1, clickCount=1
        )
    assert tab.evaluate("document.querySelector('.drawn canvas').toDataURL()") != before
    assert complaints(tab) == []


def test_tabs_switch_without_a_script(tab, page):
    tab.open(page, 1280, script=False)
    try:
        visible = "[...document.querySelectorAll('.tab')].map(one => getComputedStyle(one).display)"
        assert tab.evaluate(visible) == ["block", "none"]
        box = tab.evaluate(
            "(one => { one.scrollIntoView({block: 'center', behavior: 'instant'}); "
            "const b = one.getBoundingClientRect(); return {x: b.x + 9, y: b.y + 9} })"
            "(document.querySelectorAll('.tabs > label')[1])"
        )
        for kind in ("mousePressed", "mouseReleased"):
            tab.call("Input.dispatchMouseEvent", type=kind, x=box["x"], y=box["y"], button="left", clickCount=1)
        assert tab.evaluate(visible) == ["none", "block"]
        assert tab.evaluate("document.querySelectorAll('svg.cloud').length") == 3  # the static clouds stay
    finally:
        tab.call("Emulation.setScriptExecutionDisabled", value=False)


def test_prints_every_calibration(tab, page):
    tab.open(page, 800, media="print")
    assert tab.evaluate("[...document.querySelectorAll('.tab')].every(one => getComputedStyle(one).display == 'block')")
