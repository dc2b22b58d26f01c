"""The demo with budgets cut to a few epochs: its files, and that the summary says what the audits measured."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from brittle.auditing.options import AuditOptions
from brittle.demo import nets, run
from brittle.demo.run import DemoResult, run_demo, summarise
from brittle.models.load import load_model
from brittle.results.audit import Audit
from brittle.results.robustness import Outcomes
from brittle.results.serialise import from_dict, read_json
from brittle.results.summary import Summary
from brittle.training.loop import Budget
from tests.demo.browse import browser, chromium_needed, layer_names

NAMES = ("original", "low-rank", "neuron-pruned", "narrow")
KEYS = ("linf@0.05", "linf@0.1", "l2@0.5")
SEEDS = (3, 4)
SAMPLES = 80


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, DemoResult]]:
    """Two seeds with three epochs each, attacked with the least effort on a few samples."""

    def quick(**options: object) -> AuditOptions:
        return replace(AuditOptions(**options), effort="quick", samples=SAMPLES)  # type: ignore[arg-type]

    folder = tmp_path_factory.mktemp("demo") / "new" / "deep"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nets, "TRAINING", Budget(epochs=3, learning_rate=1e-2))
        patch.setattr(nets, "FINE_TUNING", Budget(epochs=1))
        patch.setattr(run, "AuditOptions", quick)
        yield folder, run_demo(folder, SEEDS[0], len(SEEDS))


def audits(folder: Path) -> list[dict[str, Audit]]:
    """By seed, then by net."""
    return [
        {name: Audit.from_dict(read_json(f / f"{name}.json")) for name in NAMES} for f in (folder, folder / "seed-4")
    ]


def test_files(demo: tuple[Path, DemoResult]) -> None:
    folder, result = demo
    per_net = {f"{name}.{ending}" for name in NAMES for ending in ("json", "safetensors")}
    assert {p.name for p in folder.iterdir()} == per_net | {"report.html", "summary.json", "seed-4"}
    assert {p.name for p in (folder / "seed-4").iterdir()} == per_net
    assert result.report == folder / "report.html"
    assert tuple(audit.model.name for audit in result.audits) == NAMES


def test_the_saved_nets_are_the_audited_ones(demo: tuple[Path, DemoResult]) -> None:
    folder, _ = demo
    for audit in audits(folder)[0].values():
        loaded = load_model(str(folder / f"{audit.model.name}.safetensors"), input_shape=(1, 8, 8), classes=10)
        assert sum(p.numel() for p in loaded.module.parameters()) == audit.model.parameters
        assert loaded.recipe is not None
        assert loaded.recipe.to_dict() == audit.model.recipe


def test_the_three_children_are_of_one_size_and_a_fraction_of_the_original(demo: tuple[Path, DemoResult]) -> None:
    sizes = [audits(demo[0])[0][name].model.parameters for name in NAMES]
    assert max(sizes[1:]) <= 1.03 * min(sizes[1:])
    assert max(sizes[1:]) < sizes[0] / 4


def test_the_summary_holds_the_audits_numbers(demo: tuple[Path, DemoResult]) -> None:
    folder, result = demo
    summary = from_dict(Summary, read_json(folder / "summary.json"))
    assert summary == result.summary
    assert (summary.schema, summary.report, summary.samples) == ("brittle.summary/1", "report.html", SAMPLES)
    assert summary.seeds == SEEDS
    assert tuple(net.name for net in summary.nets) == NAMES
    series = audits(folder)
    for net in summary.nets:
        runs = [audit[net.name] for audit in series]
        rows = {key: [one.robustness[i] for one in runs] for i, key in enumerate(KEYS)}
        assert net.parameters == runs[0].model.parameters
        assert net.clean == pytest.approx(np.mean([one.robustness[0].clean for one in runs]))
        assert net.robust == pytest.approx({key: np.mean([row.attacked for row in rows[key]]) for key in KEYS})
        assert net.certified == pytest.approx({key: np.mean([row.certified for row in rows[key]]) for key in KEYS})
        assert 0 < net.robust["linf@0.05"] < net.clean


def test_drops_are_against_the_original_and_pooled_intervals_hold_them(demo: tuple[Path, DemoResult]) -> None:
    original, *children = demo[1].summary.nets
    assert original.drop_points == original.interval95 == {}
    assert original.verdict == "reference"
    for net in children:
        assert net.drop_points.keys() == net.interval95.keys() == {"clean", *KEYS}
        for key in KEYS:
            assert net.drop_points[key] == pytest.approx(100 * (original.robust[key] - net.robust[key]))
        assert net.drop_points["clean"] == pytest.approx(100 * (original.clean - net.clean))
        for key, (low, high) in net.interval95.items():
            assert low <= net.drop_points[key] <= high
            assert low < high


def test_verdicts_follow_from_the_pooled_intervals(demo: tuple[Path, DemoResult]) -> None:
    for net in demo[1].summary.nets[1:]:
        intervals = [net.interval95[key] for key in KEYS]
        brittle, holds = any(low > 2 for low, _ in intervals), all(high < 2 for _, high in intervals)
        assert net.verdict == ("brittle" if brittle else "not brittle" if holds else "undecided")


def test_clean_accuracy_is_no_threat_so_its_loss_alone_makes_no_net_brittle(demo: tuple[Path, DemoResult]) -> None:
    original, *children = demo[1].audits
    right = original.outcomes.right
    blind = Outcomes({**right, "clean": "0" * len(right["clean"])}, original.outcomes.labels)
    made = {"original": original} | {child.model.name: replace(child, outcomes=blind) for child in children}
    for net in summarise([made], SEEDS[:1], "report.html").nets[1:]:
        assert net.interval95["clean"][0] > 2
        assert net.verdict != "brittle"


def test_every_child_is_compared_with_the_original_of_its_seed(demo: tuple[Path, DemoResult]) -> None:
    for one in audits(demo[0]):
        assert one["original"].comparison is None
        for name in NAMES[1:]:
            comparison = one[name].comparison
            assert comparison is not None
            assert comparison.base == one["original"].model
            assert [pair.base_robust for pair in comparison.paired] == [r.attacked for r in one["original"].robustness]
    assert [one["low-rank"].seed for one in audits(demo[0])] == list(SEEDS)


def test_one_seed_alone_gives_that_seeds_numbers_again(demo: tuple[Path, DemoResult], tmp_path: Path) -> None:
    """With its audits' own intervals; the budgets are still those of the fixture."""
    told: list[str] = []
    result = run_demo(tmp_path, SEEDS[1], 1, lambda stage, done, total: told.append(stage))
    audit = audits(demo[0])[1]
    for net in result.summary.nets:
        assert net.robust == {key: row.attacked for key, row in zip(KEYS, audit[net.name].robustness, strict=True)}
    comparison = audit["low-rank"].comparison
    assert comparison is not None
    assert list(result.summary.nets[1].interval95.values())[1:] == [pair.interval95 for pair in comparison.paired]
    assert any(stage.startswith("training original") for stage in told)
    assert not (tmp_path / "seed-4").exists()


@pytest.mark.browser
@chromium_needed
@pytest.mark.parametrize("width", [1280, 390])
def test_the_real_report_in_a_browser(demo: tuple[Path, DemoResult], tmp_path: Path, width: int) -> None:
    _, result = demo
    with browser(tmp_path / "profile", width) as driver:
        driver.get(result.report.as_uri())
        assert driver.execute_script("return document.documentElement.dataset.ready") == "true"
        assert [line for line in driver.get_log("browser") if line["level"] in ("SEVERE", "WARNING")] == []
        sent = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
        asked = [m["params"] for m in sent if m["method"] == "Network.requestWillBeSent"]
        urls = {r["request"]["url"] for r in asked if r["documentURL"] == driver.current_url}
        assert driver.current_url in urls
        assert {url for url in urls if not url.startswith(("file:", "data:"))} == set()
        for selector in ("h1", "#verdict .card", "#verdict .verdict", "#layer-table tbody.chosen tr"):
            assert driver.find_element("css selector", selector).is_displayed(), selector
        assert "handwritten digits" in driver.find_element("css selector", "body").text
        wide, inner = driver.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
        assert wide <= inner == width

        layer = driver.find_elements("css selector", "#layer-table th[aria-sort] button")[0]
        driver.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", layer)
        layer.click()
        shown = layer_names(driver)
        assert len(shown) == len(result.audits[0].layers)
        assert shown == sorted(shown)
        layer.click()
        assert layer_names(driver) == sorted(shown, reverse=True)
