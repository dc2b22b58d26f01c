"""The compression report: every number of a made record, and the page in headless Chromium."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from io import StringIO
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from rich.console import Console

from brittle.report import format as fmt
from brittle.report.compression_page import render_compression, write_compression_html
from brittle.report.compression_plots import front_figures, front_lines
from brittle.report.compression_rows import layer_rows, measured, prediction_rows, score_rows, size_rows
from brittle.report.compression_terminal import compression_table
from brittle.report.compression_words import bytes_text, compression_headline, facts, recovery_sentence, times
from brittle.report.embed import static
from brittle.results.compression import CompressionResult, Gate
from brittle.results.schema import FOLDER
from tests.made_compression import bare_compression, made_compression

OWN = ("report.js", "report.css", "plotly-cartesian.min.js")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")


def text(page: str) -> str:
    for name in OWN:
        page = page.replace(str(static(name)), "")
    page = re.sub(r'<script type="application/json".*?</script>', "", page, flags=re.S)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).replace("\u00a0", " ").split())


def rendered(result: CompressionResult) -> str:
    return render_compression(result, title="net → child")


def figures(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="page-data">(.*?)</script>', page, flags=re.S)
    assert found is not None
    return json.loads(found[1])["figures"]  # type: ignore[no-any-return]


def terminal(result: CompressionResult) -> str:
    console = Console(file=StringIO(), width=160)
    console.print(compression_table(result))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_records_survive_json_and_fit_the_published_schema() -> None:
    schema = json.loads((FOLDER / "compression-1.json").read_text(encoding="utf-8"))
    for result in (made_compression(), bare_compression()):
        values = json.loads(json.dumps(result.to_dict()))
        assert CompressionResult.from_dict(values) == result
        jsonschema.Draft202012Validator(schema).validate(values)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate({**values, "front": 3})


def test_sizes_accuracies_drops_and_layers_are_all_in_the_text() -> None:
    result = made_compression()
    words = text(rendered(result))
    for size in (result.parent_size, result.child_size):
        assert f"{size.parameters:,}" in words
        assert f"{size.nonzero:,}" in words
        assert f"{size.multiply_adds:,}" in words
        assert f"≈ {size.latency_ms:.3g} ms" in words
    assert "1.34 MB" in words
    assert "169 kB" in words
    for scored in (result.parent_scores, result.before_recovery, result.after):
        assert scored is not None
        assert f"{fmt.percent(scored.clean)} {fmt.percent_interval(scored.clean_interval95)}" in words
        for row in scored.robust:
            assert f"{fmt.percent(row.attacked)} {fmt.percent_interval(row.interval95)}" in words
    for drop in result.drops:
        assert f"{fmt.points(drop.points)} {fmt.points_interval(drop.interval95)}" in words
    for layer in result.layers:
        assert layer.name in words
        assert fmt.shape(layer.before) in words
        assert f"{layer.parameters_after:,}" in words
    assert "gone" in words
    assert all(note.replace("`", "") in words for note in result.notes)
    assert "linf 0.0313725: undecided as well" in words
    assert "brittle compress net.safetensors --keep 0.125 --out child.safetensors" in words


def test_names_from_outside_are_escaped() -> None:
    page = rendered(made_compression())
    assert "<b>svd</b>" not in page
    assert "<i>fc1</i>" not in page
    assert "svd &lt; auto" in page


def test_the_headline_says_how_much_smaller_and_at_what_price() -> None:
    result = made_compression()
    assert compression_headline(result) == (
        "8.0 times fewer parameters, 16 bits a weight in place of 32; clean accuracy −1.7 points, "
        "under attack at ℓ∞ ε = 0.05 −1.6 points, at ℓ∞ ε = 8/255 −1.8"
    )
    sparse = replace(result, child_size=replace(result.child_size, parameters=335_114, nonzero=41_890))
    assert compression_headline(sparse).startswith("As many parameters, 12.5% of them not zero, 16 bits")
    assert compression_headline(bare_compression()).endswith("what it cost was not measured to the end")
    assert times(300, 100) == "3.0 times"


def test_facts_stand_beside_the_parents_numbers() -> None:
    labels, values, details = zip(*facts(made_compression()), strict=True)
    assert labels == ("parameters", "clean accuracy", "under attack, ℓ∞ ε = 0.05", "under attack, ℓ∞ ε = 8/255")
    assert values == ("12.5%", "86.4%", "77.2%", "71.3%")
    assert details[0] == "335,114 → 41,890, asked for 12.5%"
    assert details[2] == "parent 78.8%; drop +1.6 points, 95% [+0.5, +2.7]"


def test_tables_leave_out_what_was_not_measured() -> None:
    bare = bare_compression()
    assert score_rows(bare) == []
    assert measured(bare) == []
    assert prediction_rows(bare) == []
    assert [row[0] for row in size_rows(bare)] == [
        "parameters", "parameters that are not zero", "bits of a weight", "multiply-adds for one sample", "file",
    ]  # fmt: skip
    assert size_rows(bare)[3][1:] == ("–", "–", "–")
    page = rendered(bare)
    words = text(page)
    assert "Stopped at the time limit" in words
    for gone in ("front", "prediction", "notes", "accuracy"):
        assert f'<section id="{gone}"' not in page
    numbers = re.findall(r'<span class="number">(\d)</span>', page)
    assert numbers == ["1", "2", "3", "4"]


def test_ratios_and_predictions() -> None:
    rows = {row[0]: row[1:] for row in size_rows(made_compression())}
    assert rows["multiply-adds for one sample"] == ("3,211,264", "1,105,920", "×2.90")
    assert rows["latency of 64 samples on one thread"][2] == "×3.71"
    assert prediction_rows(made_compression()) == [
        ("clean accuracy", "82.3%", "81.1%", "−1.2"),
        ("accuracy under the plan's attack", "65.4%", "66.9%", "+1.5"),
    ]


def test_layers_sort_by_numbers_not_by_texts() -> None:
    rows = layer_rows(made_compression())
    assert [cells[6][1] for cells in rows] == [493.0, 8657.0, 23251.0, 970.0, 0.0]
    assert [cells[3][0] for cells in rows] == ["dense", "17", "11", "dense", "dense"]


def test_bytes_and_recovery_in_words() -> None:
    assert [bytes_text(n) for n in (None, 17, 1700, 12_345_678, 3_200_000_000)] == [
        "–", "17 B", "1.7 kB", "12.3 MB", "3.2 GB",
    ]  # fmt: skip
    result = made_compression()
    assert result.recovery is not None
    assert "12.25 of 12.50 gradient evaluations" in recovery_sentence(result)
    assert "against ℓ∞ ε = 0.05" in recovery_sentence(result)
    assert "epoch 2 of 3 was kept" in recovery_sentence(result)
    start = replace(result, recovery=replace(result.recovery, best_epoch=0, norm=None, epsilon=None))
    assert "the start was best and is kept" in recovery_sentence(start)
    assert "against" not in recovery_sentence(start)
    assert "no recovery" in recovery_sentence(bare_compression())


def test_the_front_is_drawn_once_for_each_accuracy_with_dominated_points_hollow() -> None:
    result = made_compression()
    found = figures(rendered(result))
    assert sorted(found) == ["front-0", "front-1", "front-clean"]
    assert [line.name for line in front_lines(result)] == ["parent", "auto", "l2-global", "svd", "<b>svd</b>"]
    auto = found["front-1"]["traces"][1]
    assert auto["x"] == [0.125, 0.25, 0.5]  # what came out, as a share of the parent's
    assert auto["y"] == [0.713, 0.721, 0.729]
    assert auto["error_y"]["array"] == [pytest.approx(0.019)] * 3
    assert auto["marker"]["symbol"] == ["square"] * 3
    assert found["front-0"]["traces"][2]["marker"]["symbol"] == ["diamond-open"] * 3
    assert "&lt;b&gt;svd" in found["front-clean"]["traces"][4]["text"][0]
    axis = found["front-clean"]["layout"]["xaxis"]
    assert axis["ticktext"] == ["100%", "50%", "25%", "12.5%"]


def test_two_points_are_no_picture_and_missing_radii_no_points() -> None:
    result = made_compression()
    assert front_figures(replace(result, front=result.front[:2]), measured(result)) == {}
    first = replace(result.front[1], scores=replace(result.front[1].scores, robust=result.front[1].scores.robust[:1]))
    cut = replace(result, front=(result.front[0], first, result.front[2]))
    assert front_figures(cut, measured(cut))["front-1"]["traces"][1]["x"] == [0.25]


def test_the_terminal_shows_the_same_numbers() -> None:
    shown = terminal(made_compression())
    for part in ("8.0 times fewer parameters", "? undecided", "✓ gate held", "×8.00", "77.2% [75.1, 79.1]", "l2-global",
                 "child-0.25.safetensors", "note: conv2 holds most"):  # fmt: skip
        assert part in shown, part
    bare = terminal(bare_compression())
    assert "Stopped at the time limit" in bare
    assert "Accuracy" not in bare
    failed = replace(made_compression(), gate=Gate(1.5, False, ("clean: drop +1.7 points",)))
    assert "! gate failed" in terminal(failed)
    assert "clean: drop +1.7 points" in text(rendered(failed))


@pytest.fixture(scope="module", params=[1280, 390])
def browser(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed (dev extra)")
    if not (CHROMIUM and DRIVER):
        pytest.skip("chromium and chromedriver are not on the PATH")
    from selenium.webdriver.chrome.service import Service

    folder = tmp_path_factory.mktemp("compression")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        size = {"width": request.param, "height": 900, "deviceScaleFactor": 1, "mobile": request.param < 600}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        driver.get(write_compression_html(folder / "c.html", made_compression(), title="net → child").as_uri())
        driver.width = request.param
        driver.folder = folder
        yield driver
    finally:
        driver.quit()


@pytest.mark.browser
def test_it_draws_without_errors_or_requests_and_fits(browser: Any) -> None:
    assert browser.execute_script("return document.documentElement.dataset.ready") == "true"
    assert [line for line in browser.get_log("browser") if line["level"] in ("SEVERE", "WARNING")] == []
    assert browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)") == []
    charts = "return [...document.querySelectorAll('.chart')].map(c => c.querySelectorAll('.main-svg').length)"
    drawn = browser.execute_script(charts)
    assert len(drawn) == 2
    assert min(drawn) > 0
    assert browser.execute_script("return document.documentElement.scrollWidth") <= browser.width


@pytest.mark.browser
def test_the_attack_can_be_chosen_methods_hidden_and_layers_sorted(browser: Any) -> None:
    from selenium.webdriver.support.ui import Select

    values = "return document.querySelector('[data-figure=front]').data[1].y[0]"
    assert browser.execute_script(values) == 0.772
    Select(browser.find_element("id", "front-threat")).select_by_visible_text("ℓ∞ ε = 8/255")
    assert browser.execute_script(values) == 0.713
    chip = browser.find_element("css selector", ".chip[data-net='method-1']")
    browser.execute_script("arguments[0].click()", chip)
    visible = "return document.querySelector('[data-figure=front-clean]').data.map(t => t.visible)"
    assert browser.execute_script(visible) == [True, True, False, True, True]
    heading = browser.find_elements("css selector", "#layer-table th[aria-sort] button")[6]
    browser.execute_script("arguments[0].click()", heading)
    names = "return [...document.querySelectorAll('#layer-table tbody tr')].map(r => r.children[0].innerText)"
    assert browser.execute_script(names) == ["extra", "conv1", "head", "conv2", "<i>fc1</i>"]


@pytest.mark.browser
def test_a_partial_page_without_a_picture_draws_as_well(browser: Any) -> None:
    page = write_compression_html(browser.folder / "bare.html", bare_compression(), title="net → child")
    browser.get(Path(page).as_uri())
    assert browser.execute_script("return document.documentElement.dataset.ready") == "true"
    assert [line for line in browser.get_log("browser") if line["level"] in ("SEVERE", "WARNING")] == []


def test_nested_layers_say_what_they_mix() -> None:
    result = made_compression()
    layers = [replace(result.layers[1], modes=modes) for modes in ((14, 0), (14, 15), (0, 15))]
    layers.append(replace(layers[0], rank=None))
    texts = [cells[3][0] for cells in layer_rows(replace(result, layers=tuple(layers)))]
    assert texts == ["17, 14 channels", "17, 14 channels, 15 positions", "17, 15 positions", "dense, 14 channels"]
