"""The page as a reader meets it, in headless Chromium: it draws, sorts, fits a phone and sends no request."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from brittle.report.html import write_html
from tests.made_audits import made_audits

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed (dev extra)")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not on the PATH"),
]
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="module", params=[1280, 390])
def browser(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from selenium.webdriver.chrome.service import Service

    folder = tmp_path_factory.mktemp("browser")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        size = {"width": request.param, "height": 900, "deviceScaleFactor": 1, "mobile": request.param < 600}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        page = write_html(folder / "report.html", made_audits(), title="Three ways to compress a net")
        driver.get(page.as_uri())
        driver.width = request.param
        yield driver
    finally:
        driver.quit()


def column(driver: Any, index: int) -> list[str]:
    rows = "[...document.querySelectorAll('#layer-table tbody.chosen tr')]"
    script = f"return {rows}.map(r => r.children[arguments[0]].innerText)"
    return [text.strip() for text in driver.execute_script(script, index)]


def test_it_draws_without_errors_or_requests(browser: Any, tmp_path: Path) -> None:
    assert browser.execute_script("return document.documentElement.dataset.ready") == "true"
    assert [line for line in browser.get_log("browser") if line["level"] in ("SEVERE", "WARNING")] == []
    assert browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)") == []
    sent = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    requests = [m["params"] for m in sent if m["method"] == "Network.requestWillBeSent"]
    urls = [r["request"]["url"] for r in requests if r["documentURL"] == browser.current_url]
    assert browser.current_url in urls
    assert [url for url in urls if not url.startswith(("file:", "data:"))] == []
    charts = "return [...document.querySelectorAll('.chart')].map(c => c.querySelectorAll('.main-svg').length)"
    assert all(count > 0 for count in browser.execute_script(charts))
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
    (tmp_path / f"report-{browser.width}.png").write_bytes(base64.b64decode(shot["data"]))


def test_headline_and_tables_are_visible_and_the_page_does_not_scroll_sideways(browser: Any) -> None:
    for selector in (
        "#verdict .card",
        "#verdict .verdict",
        "#layer-table tbody.chosen tr",
        "table.comparison",
        ".gallery.chosen img",
    ):
        assert browser.find_element("css selector", selector).is_displayed(), selector
    width, inner = browser.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
    assert width <= inner == browser.width


def test_images_are_loaded_and_pixelated(browser: Any) -> None:
    script = """return [...document.querySelectorAll('.gallery.chosen img')].map(
        i => [i.naturalWidth, i.alt.length > 0, getComputedStyle(i).imageRendering])"""
    assert browser.execute_script(script) == [[8, True, "pixelated"]] * 12


def test_sorting_by_click_and_by_keyboard(browser: Any) -> None:
    heading = "#layer-table th[aria-sort] button"
    row = "document.querySelector('#layer-table tbody.chosen tr')"
    alignment = f"return getComputedStyle({row}.children[arguments[0]]).textAlign"
    assert [browser.execute_script(alignment, i) for i in (0, 5)] == ["left", "right"]
    layer = browser.find_elements("css selector", heading)[0]
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", layer)
    layer.click()
    names = column(browser, 0)
    assert names == sorted(names)
    layer.click()
    assert column(browser, 0) == sorted(names, reverse=True)
    headings = browser.find_elements("css selector", heading)
    scale = next(h for h in headings if h.text.startswith("scale"))
    index = headings.index(scale)
    browser.execute_script("arguments[0].focus()", scale)
    for key, direction in (("\ue007", "ascending"), (" ", "descending")):
        browser.switch_to.active_element.send_keys(key)
        assert scale.find_element("xpath", "..").get_attribute("aria-sort") == direction
        values = [float(text) for text in column(browser, index)]
        assert values == sorted(values, reverse=direction == "descending")
        assert len(browser.find_elements("css selector", "#layer-table th[aria-sort$='ending']")) == 1


def test_directions_are_drawn_and_their_choosers_work(browser: Any) -> None:
    from selenium.webdriver.support.ui import Select

    tiles = (
        "return [...document.querySelectorAll('.choice.chosen .tiles img')].map(i => [i.naturalWidth, i.offsetWidth])"
    )
    drawn = browser.execute_script(tiles)
    assert len(drawn) == 4 * 6
    assert all(natural == 8 and shown > 40 for natural, shown in drawn)
    first = "return document.querySelector('.choice.chosen .tiles img').src"
    before = browser.execute_script(first)
    Select(browser.find_element("id", "direction-map")).select_by_visible_text("margin")
    assert browser.execute_script(first) != before
    for chooser, chart in (
        ("explained-case", "explained-curve"),
        ("explained-case", "explained-overlap"),
        ("amplification-threat", "amplification"),
        ("landscape-threat", "landscape-n1"),
        ("probe-threat", "probe"),
    ):
        values = f"return JSON.stringify(document.querySelector('[data-figure={chart}]').data.map(t => [t.x, t.y]))"
        select = Select(browser.find_element("id", chooser))
        select.select_by_index(0)
        at_first = browser.execute_script(values)
        select.select_by_index(len(select.options) - 1)
        assert browser.execute_script(values) != at_first, chart
    grounds = "return document.querySelectorAll('[data-figure^=landscape] .heatmaplayer image').length"
    assert browser.execute_script(grounds) == 4
    browser.execute_script("document.querySelector('[data-figure=landscape-n1]').dataset.figure = 'landscape-gone'")
    Select(browser.find_element("id", "landscape-threat")).select_by_index(0)
    assert not browser.find_element("css selector", "[data-figure=landscape-gone]").is_displayed()
    browser.execute_script("document.querySelector('[data-figure=landscape-gone]').dataset.figure = 'landscape-n1'")
    Select(browser.find_element("id", "landscape-threat")).select_by_index(1)
    assert browser.find_element("css selector", "[data-figure=landscape-n1]").is_displayed()
    said = browser.find_elements("css selector", ".said.chosen li")
    assert len(said) == 4
    assert all("random ones" in item.text for item in said)


def test_perturbations_are_drawn_and_transfer_can_be_chosen(browser: Any) -> None:
    from selenium.webdriver.support.ui import Select

    steps = "return [...document.querySelectorAll('[data-figure=radii-linf] .scatterlayer .js-line')].length"
    assert browser.execute_script(steps) == 4
    pictures = "return [...document.querySelectorAll('.pictured img')].map(i => [i.naturalWidth, i.offsetWidth])"
    assert browser.execute_script(pictures) == [[8, 64]] * 12
    fills = "return [...document.querySelectorAll('.pictured .meter .fill')].map(f => f.offsetWidth)"
    assert min(browser.execute_script(fills)) > 5
    Select(browser.find_element("id", "transfer-table")).select_by_index(2)
    assert len(browser.find_elements("css selector", ".choice.chosen .heat")) == 1
    heat = """return [...document.querySelectorAll('.choice.chosen .heat td[style]')].map(
        c => getComputedStyle(c).backgroundColor)"""
    assert len(set(browser.execute_script(heat))) == 3
    width, inner = browser.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
    assert width <= inner
    assert [line for line in browser.get_log("browser") if line["level"] in ("SEVERE", "WARNING")] == []


def test_choosers_chips_and_all_metrics(browser: Any) -> None:
    from selenium.webdriver.support.ui import Select

    Select(browser.find_element("id", "layers-net")).select_by_visible_text("narrow")
    shown = browser.find_elements("css selector", "#layer-table tbody.chosen")
    assert [body.get_attribute("data-value") for body in shown] == ["n3"]
    cells = "[...document.querySelectorAll('#layer-table tbody.chosen tr:first-child > *')]"
    before = browser.execute_script(f"return {cells}.filter(c => c.offsetParent).length")
    box = browser.find_element("id", "all-metrics")
    browser.execute_script("arguments[0].click()", box)
    visible = browser.execute_script(f"return {cells}.filter(c => c.offsetParent).length")
    assert visible > before
    chip = browser.find_element("css selector", ".chip[data-net='n1']")
    browser.execute_script("arguments[0].click()", chip)
    states = browser.find_elements("css selector", ".chip[data-net='n1']")
    assert {state.get_attribute("aria-pressed") for state in states} == {"false"}
    hidden = browser.execute_script("return document.querySelector('[data-figure=drops]').data.map(t => t.visible)")
    assert hidden == [False, True, True]
    width, inner = browser.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
    assert width <= inner


def test_it_prints(browser: Any) -> None:
    printed = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"])
    assert printed.startswith(b"%PDF")
    assert printed.count(b"/Type /Page\n") < 30
