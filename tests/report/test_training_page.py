"""The training report: every number of a made history, and the page in headless Chromium."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from brittle.errors import UsageError
from brittle.report import format as fmt
from brittle.report.embed import static
from brittle.report.training_lines import QUANTITIES, looks, value_of
from brittle.report.training_page import render_training, write_training_html
from brittle.report.training_rows import best_row, epoch_rows, facts, layer_rows, training_headline
from brittle.report.training_terminal import training_summary
from brittle.results.layer import NormBound
from brittle.results.training import (
    TRAINING_SCHEMA,
    EpochRow,
    NoiseSetting,
    PenaltySetting,
    Tracked,
    TrackedAccuracy,
    TrackedLayer,
    TrainingData,
    TrainingHistory,
    TrainingSettings,
)

EPOCHS, BEST = 6, 4
OWN = ("report.js", "report.css", "plotly-cartesian.min.js")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")


def _layer(name: str, i: int) -> TrackedLayer:
    norms = {p: NormBound(1.5 * 3**i + j, "exact", 1.5 * 3**i + j) for j, p in enumerate(("linf", "l2"))}
    return TrackedLayer(name, (8, 64), 2.0 + i, 0.61 + 0.01 * i, 0.51 + 0.01 * i, 7.0 - i, 4.0 - 0.5 * i, norms, True)


def _tracked(i: int) -> Tracked:
    attacked = (TrackedAccuracy("linf", 0.05, "pgd-10", 0.1 + 0.13 * i, (0.05 + 0.13 * i, 0.15 + 0.13 * i)),)
    layers = (_layer("fc1", i), _layer("<b>fc2</b>", i), _layer("head", i))
    return Tracked(180, 0.12 + 0.13 * i, attacked, 0.1, layers, {"linf": 10.0**i, "l2": None}, "no bound in one norm")


def made_history() -> TrainingHistory:
    rows = tuple(
        EpochRow(
            epoch=e,
            steps=17 * e,
            gradients=5390.0 * e,
            learning_rate=0.01 / e,
            loss=2.345 / e,
            penalties={"nuclear": 40.0 - e},
            validation_loss=2.1 / e,
            validation_accuracy=0.9 - 0.01 * abs(e - BEST),
            tracked=_tracked(e) if e % 2 == 0 else None,
        )
        for e in range(1, EPOCHS + 1)
    )
    settings = TrainingSettings(
        "trades-linf-0.05-3x0.25-beta6", 5.0, EPOCHS, 64, "adamw", 0.01, 1e-4, 0.9, "cosine", 0.125,
        NoiseSetting(1.75, 0.0001), 3, 5.5, (PenaltySetting("nuclear", 0.0375, True),), ("fc1",), True, 7, "cpu",
        "float32", "2.13.0",
    )  # fmt: skip
    recipe = {"architecture": "mlp", "classes": 10}
    return TrainingHistory(
        TRAINING_SCHEMA, "0.1.0", 4610, recipe, TrainingData(1078, "ab" * 32), TrainingData(180, "cd" * 32), settings,
        rows, BEST, False, 9.6, _tracked(0),
    )  # fmt: skip


def rendered(history: TrainingHistory, title: str = "A net") -> str:
    return render_training(history, title=title, data="digits", command="brittle train --model zoo:mlp")


def text(page: str) -> str:
    for name in OWN:
        page = page.replace(str(static(name)), "")
    page = re.sub(r'<script type="application/json".*?</script>', "", page, flags=re.S)
    return unescape(re.sub(r"<[^>]+>", "", page)).replace("\u00a0", " ")


def data(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="page-data">(.*?)</script>', page, flags=re.S)
    assert found is not None
    values: dict[str, Any] = json.loads(found[1])
    return values


def test_every_number_of_every_epoch_is_in_the_text_and_in_the_curves() -> None:
    history = made_history()
    page = rendered(history)
    words, figures = text(page), data(page)["figures"]
    for row in history.rows:
        assert fmt.number(row.loss) in words
        assert fmt.number(row.validation_loss) in words
        assert fmt.percent(row.validation_accuracy) in words
    clean, attacked = figures["accuracy"]["traces"]
    assert clean["y"] == [pytest.approx(row.validation_accuracy) for row in history.rows]
    assert attacked["x"] == [0, 2, 4, 6]
    assert attacked["y"] == [pytest.approx(t.attacked[0].accuracy) for _, t in looks(history)]
    assert attacked["error_y"]["array"] == [pytest.approx(0.05)] * 4
    objective, validation = figures["loss"]["traces"]
    assert objective["y"] == [pytest.approx(row.loss, rel=1e-4) for row in history.rows]
    assert validation["y"] == [pytest.approx(row.validation_loss, rel=1e-4) for row in history.rows]
    assert figures["penalty-nuclear"]["traces"][0]["y"] == [39.0, 38.0, 37.0, 36.0, 35.0, 34.0]


def test_every_quantity_of_every_layer_is_drawn_and_in_the_table() -> None:
    history = made_history()
    figures = data(rendered(history))["figures"]
    for quantity in QUANTITIES:
        for i, trace in enumerate(figures[f"layers-{quantity.key}"]["traces"]):
            expected = [value_of(tracked.layers[i], quantity.key) for _, tracked in looks(history)]
            assert trace["y"] == [pytest.approx(value, rel=1e-4) for value in expected]
    rows = layer_rows(looks(history))
    assert [name for name, _, _ in rows] == ["fc1", "<b>fc2</b>", "head"]
    assert rows[0][2][0] == ("7.000", "1.000")
    (product,) = figures["product"]["traces"]  # l_2 has no bound
    assert product["y"] == [1.0, 100.0, 10000.0, 1000000.0]
    assert figures["product"]["layout"]["yaxis"]["type"] == "log"
    assert "type" not in figures["layers-frobenius"]["layout"]["yaxis"]


def test_settings_hashes_command_and_the_reason_are_in_the_text() -> None:
    words = text(rendered(made_history()))
    for part in (
        "ab" * 32, "cd" * 32, "brittle train --model zoo:mlp", "nuclear, strength 0.0375, proximal steps", "12.5%",
        "alpha 1.75, scale 0.0001", "5.5, 3", "trades-linf-0.05-3x0.25-beta6", "1,078", "no bound in one norm",
        "architecture=mlp", "yes, the Frobenius norm",
    ):  # fmt: skip
        assert part in words, part


def test_the_headline_names_the_best_epoch_and_early_stopping() -> None:
    history = made_history()
    assert best_row(history).epoch == BEST
    assert training_headline(history) == "Epoch 4 of 6 has the best validation accuracy: 90.0%"
    assert training_headline(replace(history, stopped_early=True)).endswith("; patience ran out after epoch 6")


def test_facts_are_of_the_look_nearest_to_the_best_epoch_and_never_of_the_start() -> None:
    history = made_history()
    (robust,) = [fact for fact in facts(history, looks(history)) if fact[0].startswith("under attack")]
    assert robust[1] == fmt.percent(0.1 + 0.13 * 4)
    assert "at the best epoch" in robust[2]
    early = replace(history, best_epoch=1)
    (robust,) = [fact for fact in facts(early, looks(early)) if fact[0].startswith("under attack")]
    assert robust[1] == fmt.percent(0.1 + 0.13 * 2)
    assert "at epoch 2, the look nearest" in robust[2]
    rows = tuple(replace(row, tracked=row.tracked if row.epoch == 6 else None) for row in history.rows)
    sparse = replace(early, rows=rows)  # the look before the first step is nearer, but of an untrained net
    (robust,) = [fact for fact in facts(sparse, looks(sparse)) if fact[0].startswith("under attack")]
    assert "at epoch 6" in robust[2]
    assert training_summary(history)[0] == training_headline(history)
    assert "under attack, ℓ∞ ε = 0.05: 62.0%" in training_summary(history)[1]


def test_a_run_without_a_tracker_has_no_section_on_structure() -> None:
    history = made_history()
    bare = replace(history, start=None, rows=tuple(replace(row, tracked=None, penalties={}) for row in history.rows))
    page = rendered(bare)
    assert 'id="layers"' not in page
    assert data(page)["figures"].keys() == {"loss", "accuracy", "rate"}
    assert len(training_summary(bare)) == 1


def test_long_runs_are_thinned_and_the_best_epoch_is_kept() -> None:
    history = made_history()
    rows = tuple(replace(history.rows[0], epoch=e) for e in range(1, 1001))
    long = replace(history, rows=rows, best_epoch=333)
    shown = epoch_rows(long)
    assert len(shown) <= 61
    assert [epoch for epoch, best, _ in shown if best] == ["333"]
    assert len(data(rendered(long))["figures"]["loss"]["traces"][0]["x"]) <= 400
    assert "the JSON holds all 1000" in text(rendered(long))


def test_names_cannot_break_out_of_the_page() -> None:
    page = rendered(made_history(), title="<script>alert(1)</script>")
    assert "<script>alert(1)" not in page
    assert "<b>fc2</b>" not in page.replace(str(static("plotly-cartesian.min.js")), "")
    assert "default-src 'none'" in page


def test_a_history_without_epochs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs at least one finished epoch, got none"):
        rendered(replace(made_history(), rows=()))
    with pytest.raises(UsageError, match="choose a folder that exists"):
        write_training_html(tmp_path / "no" / "t.html", made_history(), title="", data="", command="")


@pytest.fixture(scope="module", params=[1280, 390])
def browser(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed (dev extra)")
    if not (CHROMIUM and DRIVER):
        pytest.skip("chromium and chromedriver are not on the PATH")
    from selenium.webdriver.chrome.service import Service

    folder = tmp_path_factory.mktemp("training")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        size = {"width": request.param, "height": 900, "deviceScaleFactor": 1, "mobile": request.param < 600}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        page = write_training_html(folder / "t.html", made_history(), title="A net", data="digits", command="brittle")
        driver.get(page.as_uri())
        driver.width = request.param
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
    assert len(drawn) == 6
    assert min(drawn) > 0
    assert browser.execute_script("return document.documentElement.scrollWidth") <= browser.width


@pytest.mark.browser
def test_the_quantity_can_be_chosen_and_layers_hidden(browser: Any) -> None:
    from selenium.webdriver.support.ui import Select

    values = "return document.querySelector('[data-figure=layers]').data.map(t => t.y[0])"
    assert browser.execute_script(values) == [7, 7, 7]
    Select(browser.find_element("id", "quantity")).select_by_visible_text("Frobenius norm")
    assert browser.execute_script(values) == [2, 2, 2]
    (note,) = [n for n in browser.find_elements("css selector", ".choice.chosen") if n.is_displayed()]
    assert note.text.startswith("Frobenius norm: the layer's scale")
    chip = browser.find_element("css selector", ".chip[data-net='layer-1']")
    browser.execute_script("arguments[0].click()", chip)
    visible = "return document.querySelector('[data-figure=layers]').data.map(t => t.visible)"
    assert browser.execute_script(visible) == [True, False, True]
