"""The study's page and Markdown: every number of a made study, and the page in headless Chromium."""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from brittle.errors import UsageError
from brittle.report import study_page
from brittle.report.embed import static
from brittle.report.study_cells import drawn_cells, is_association, keys_of, level_means, outcomes_of
from brittle.report.study_figures import claim_figures, standalone_svg
from brittle.report.study_markdown import render_study_markdown, write_study_markdown
from brittle.report.study_page import render_study, write_study_html
from brittle.report.study_rows import cell_columns, cell_rows, claim_rows, missing_points, point_data, run_rows
from brittle.report.study_summary import measurement_table
from brittle.report.study_terminal import study_table
from brittle.report.study_words import effects_of, headline, incomplete, p_text, said, seen_in, signs, with_unit
from brittle.results.study import StudyResult
from tests.report.studies_made import RATIO, ROBUST, made_cell, made_claim, made_study

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
OWN = ("report.css", "study.css", "study.js")
DATA = re.compile(r'<script type="application/json" id="page-data">(.*?)</script>', flags=re.S)


@pytest.fixture(scope="module")
def result() -> StudyResult:
    return made_study()


@pytest.fixture(scope="module")
def page(result: StudyResult) -> str:
    return render_study(result, title="The claims <again>")


def words(page: str) -> str:
    for name in OWN:
        page = page.replace(str(static(name)), "")
    page = DATA.sub("", page)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", page)).replace("\u00a0", " "))


def data(page: str) -> dict[str, Any]:
    found = DATA.search(page)
    assert found is not None
    values: dict[str, Any] = json.loads(found[1])
    return values


def test_the_first_words_say_what_was_found_and_what_is_missing(result: StudyResult, page: str) -> None:
    first = "Of five claims two supported, one not supported, one contradicted and one inconclusive"
    assert headline(result) == first
    assert first in words(page)
    assert incomplete(result).startswith("7 of 471 trials have no answer, 1 of them because they failed.")
    assert "7 of 471 trials have no answer" in words(page)
    whole = replace(result, missing=0, failed=0)
    assert incomplete(whole) == ""
    assert "have no answer" not in words(render_study(whole, title=""))
    assert headline(replace(result, claims=result.claims[:1])) == "The claim is supported"
    assert headline(replace(result, claims=result.claims[:1] * 2)) == "Of two claims two supported"


def test_the_overview_has_verdict_effect_p_and_cells_of_every_claim(result: StudyResult, page: str) -> None:
    rows = claim_rows(result)
    assert [(row.claim, row.word.text, row.p, row.seen) for row in rows] == [
        ("C2", "supported", "0.001", "2 of 2"),
        ("C5", "supported", "0.001", "1 of 1"),
        ("C6", "not supported", "0.61", "9 of 12"),
        ("C10", "contradicted", "0.004", "0 of 1"),
        ("C12", "inconclusive", "–", "–"),
    ]
    assert rows[0].effect == "At the strongest setting 29.5 points of robust accuracy at ℓ∞ 0.05 are lost [27.0, 32.0]"
    assert rows[4].effect == "No cell could be tested"
    assert rows[2].effect.endswith("[−1.1, 1.7]")
    overview = words(page).split("Each claim is judged")[0]
    for row in rows:
        for part in (row.title, row.word.text, row.effect, row.p):
            assert part in overview
    assert len({row.word.sign for row in rows}) == 4  # colour is never alone
    assert str(rows[0].strip).count("<circle") == 2  # the control does not decide
    assert str(rows[2].strip).count("<circle") == 5


def test_effects_and_counts_are_read_off_the_words_that_the_verdict_writes(result: StudyResult) -> None:
    claim = result.claims[0]
    assert len(effects_of(claim)) == 2
    assert effects_of(claim)[1].endswith("are lost [28.1, 33.9]")
    assert seen_in(claim) == "2 of 2"
    assert seen_in(replace(claim, effects=())) == "–"
    assert signs("linf, robust.linf@0.04, l2") == "ℓ∞, robust.linf@0.04, ℓ₂"
    assert (with_unit("gain", ["rho"]), with_unit("change (%)", ["%"]), with_unit("gap", [])) == (
        "gain, ρ", "change (%)", "gap",
    )  # fmt: skip
    assert signs("l_inf, l_2, p <= 0.05 [-1.5, 2] e-3 3e-4") == "ℓ∞, ℓ₂, p ≤ 0.05 [−1.5, 2] e-3 3e-4"
    assert (p_text(0.0004), p_text(0.0312), p_text(0.25), p_text(1.0, tested=False)) == ("<0.001", "0.031", "0.25", "–")


def test_means_and_intervals_are_those_of_scipy() -> None:
    cell = made_cell("a cell", "supported", -20.0, missing=((0, 1), (1, 1), (2, 1), (3, 1)))
    means = level_means(cell, ROBUST)
    values = np.array([row[0] for row in cell.data.outcomes[ROBUST]], dtype=float)
    expected = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
    assert means[0].y == pytest.approx(values.mean())
    assert means[0].interval == pytest.approx(expected)
    assert means[0].x == pytest.approx(np.mean([row[0] for row in cell.data.x]))
    assert (means[1].seeds, means[1].interval) == (1, None)
    assert level_means(cell, "no such outcome") == ()
    empty = made_cell("gone", "inconclusive", 0.0, missing=tuple((i, 2) for i in range(5)))
    assert [mean.level for mean in level_means(empty, ROBUST)] == [0, 1, 3, 4]


def test_every_section_has_criterion_sources_controls_and_what_would_change(result: StudyResult, page: str) -> None:
    text = words(page)
    assert said(result.claims[0])[1] == "Scale held (1 cell): more words."
    assert said(result.claims[4]) == (
        "No cell could be tested.",
        "Left out: quantised, digits, scale free: 2 complete seeds.",
    )
    for claim in result.claims:
        for part in (claim.title, claim.question, claim.criterion, claim.would_change, *claim.sources, *claim.controls):
            assert signs(part) in text, part
    assert "75, in 3 cells" in dict(run_rows(result.claims[0], result))["trials"]
    assert "seeds" in dict(run_rows(result.claims[0], result))
    gone = result.claims[4]
    assert missing_points(gone) == 6
    assert dict(run_rows(gone, result))["missing"].startswith("6 points")
    assert "missing" not in dict(run_rows(result.claims[0], result))
    assert "shared" not in dict(run_rows(gone, replace(result, claims=(gone,))))["time"]


def test_cells_stand_with_their_effects_and_controls_last(result: StudyResult, page: str) -> None:
    claim = result.claims[0]
    assert [outcome for outcome, _ in cell_columns(claim)] == [ROBUST, RATIO]
    assert cell_columns(claim)[0][1] == "robust accuracy at ℓ∞ 0.05, points"
    rows = cell_rows(replace(claim, cells=claim.cells[::-1]))
    assert [row.drawn.control for row in rows] == [False, False, True]
    assert rows[0].effects[0][0] == "−21.0 [−23.5, −18.5]"
    assert {row.rho for row in rows} == {"−0.93 [−0.97, −0.85]"}
    untested = cell_rows(result.claims[4])[0]
    assert (untested.word.text, untested.note, untested.p) == ("not tested", "2 complete seeds", "–")
    assert "2 complete seeds" in words(page)
    assert cell_rows(result.claims[1])[0].effects[0][0] == "+0.91 [+0.85, +0.96]"
    controls = tuple(replace(cell, counts=False) for cell in result.claims[2].cells[1:])
    many = replace(result, claims=(replace(result.claims[2], cells=(result.claims[2].cells[0], *controls)),))
    assert "11 controls in numbers" in words(render_study(many, title=""))
    assert "in numbers" not in words(page)


def test_every_point_leads_to_its_trials(result: StudyResult, page: str) -> None:
    found = data(page)
    keys = {row.key[:12] for row in result.trials}
    assert set(found["keys"]) == keys
    for claim in result.claims:
        shown = found["claims"][claim.claim]
        for cell, told in zip(claim.cells, shown["cells"], strict=True):
            assert told["seeds"] == list(cell.data.seeds)
            for i, row in enumerate(cell.data.trials):
                for j, behind in enumerate(row):
                    assert [found["keys"][k] for k in told["keys"][i][j]] == [key[:12] for key in behind]
            assert told["y"][0][1][0] == pytest.approx(next(iter(cell.data.outcomes.values()))[1][0], rel=1e-3)
    groups = re.findall(r'data-points="([^"]+)">(.*?)</g>', page)
    assert "C2.0.0" in {name for name, _ in groups}
    for name, dots in groups:
        claim_id, cell_at, outcome = name.split(".")
        told = found["claims"][claim_id]["cells"][int(cell_at)]
        there = [
            told["keys"][i][j]
            for i, row in enumerate(told["y"][int(outcome)])
            for j, y in enumerate(row)
            if y is not None and told["x"][i][j] is not None
        ]
        assert dots.count("<circle") == len(there)
        assert all(there)
    assert next(dots for name, dots in groups if name == "C12.0.0").count("<circle") == 19  # six are missing
    assert len(keys_of(result.claims[0].cells)) == 75


def test_few_cells_share_two_panels_and_many_have_one_each(result: StudyResult) -> None:
    two, rho, many = (claim_figures(claim) for claim in result.claims[:3])
    assert [(figure.outcome, figure.together, len(figure.panels)) for figure in two] == [
        (ROBUST, True, 2),
        (RATIO, True, 2),
    ]
    assert is_association(result.claims[1])
    waiting = replace(result.claims[4], criterion="Supported if the gap rises by 0.5 rho or more.")
    assert is_association(waiting)
    assert not is_association(result.claims[4])
    assert [len(figure.panels) for figure in rho] == [1]  # levels have no order but the predictor's
    assert [(figure.together, len(figure.panels)) for figure in many] == [(False, 12), (False, 12)]
    controls = tuple(replace(cell, counts=False) for cell in result.claims[2].cells[3:])
    (figure, _) = claim_figures(replace(result.claims[2], cells=(*result.claims[2].cells[:3], *controls)))
    assert (len(figure.panels), len(figure.controls)) == (3, 9)
    other = replace(result.claims[0].cells[0], data=replace(result.claims[0].cells[0].data, predictor="other"))
    apart = claim_figures(replace(result.claims[0], cells=(other, *result.claims[0].cells[1:])))
    assert not apart[0].together  # two predictors do not share an axis
    assert outcomes_of(result.claims[0]) == (ROBUST, RATIO)
    assert len({one.colour for one in drawn_cells(result.claims[0])}) == 3


def test_levels_are_named_on_the_axis_where_all_cells_have_the_same(result: StudyResult) -> None:
    claim = result.claims[0]
    same = str(claim_figures(claim)[0].panels[0])
    assert all(f">{level}<" in same for level in ("dense", "3e-4", "1e-2"))
    ranks = made_cell("ranks", "supported", -9.0, levels=("dense", "rank 8", "rank 4", "rank 2", "rank 1"))
    alone = str(claim_figures(replace(claim, cells=(ranks,)))[0].panels[0])
    assert all(f">{text}<" in alone for text in ("dense", "8", "1", "rank"))
    mixed = str(claim_figures(replace(claim, cells=(claim.cells[0], ranks)))[0].panels[0])
    assert "strength, in the order of each source" in mixed
    assert ">4<" in mixed
    assert ">rank 4<" not in mixed
    names = ("dense", "0.0010", "0.0030", "0.0100", "0.0300")
    many = tuple(replace(cell, data=replace(cell.data, levels=names)) for cell in result.claims[2].cells)
    small = str(claim_figures(replace(result.claims[2], cells=many))[0].panels[0])
    assert ">0.0030<" in small
    assert ">0.0010<" not in small  # they would touch: every second one


def test_all_trials_can_be_taken_away(result: StudyResult, page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    href = re.search(r'href="data:text/csv;charset=utf-8;base64,([^"]+)" download="trials.csv"', page)
    assert href is not None
    rows = list(csv.DictReader(io.StringIO(base64.b64decode(href[1]).decode())))
    assert {row["key"] for row in rows} == {row.key for row in result.trials}
    assert float(rows[3]["measure.clean"]) == 0.9
    monkeypatch.setattr(study_page, "_PLAIN", 1000)
    packed = re.search(
        r'href="data:application/gzip;base64,([^"]+)" download="trials.csv.gz"', render_study(result, title="")
    )
    assert packed is not None
    assert list(csv.DictReader(io.StringIO(gzip.decompress(base64.b64decode(packed[1])).decode()))) == rows


def test_names_cannot_break_out_of_the_page_and_nothing_is_loaded(page: str) -> None:
    assert "<b>can</b>" not in page
    assert "&lt;b&gt;can" in page
    assert "The claims <again>" not in page
    assert "default-src 'none'" in page
    assert not re.search(r'(src|href)="(https?:|//)', page)


def test_a_study_without_a_criterion_shows_what_was_measured(result: StudyResult) -> None:
    bare = replace(result, claims=(), missing=0, failed=0, trials=result.trials[:10])
    assert headline(bare) == "10 trials measured; no criterion was given, so there is no verdict"
    table = measurement_table(bare)
    assert table.headings[-1] == "clean"
    assert [(row[0], row[1]) for row in table.rows][:2] == [("source.level dense", 2), ("source.level 3e-4", 2)]
    values = [bare.trials[i].measures[ROBUST] for i in (0, 5)]
    assert table.rows[0][2][0].startswith(f"{np.mean(values):.1f}"[:3])
    text = words(render_study(bare, title="x"))
    assert "source.level 3e-4" in text
    assert "Each claim is judged" not in text
    console = Console(file=io.StringIO(), width=200)
    console.print(study_table(bare))
    assert "source.level 3e-4" in console.file.getvalue()  # type: ignore[attr-defined]
    other = replace(bare.trials[0], measures={"other": 1.0})
    assert measurement_table(replace(bare, trials=(other, *bare.trials[1:2]))).rows[0][2][1] == "–"
    assert measurement_table(replace(bare, trials=())).rows == ()


def test_the_terminal_says_the_same(result: StudyResult) -> None:
    console = Console(file=io.StringIO(), width=160)
    console.print(study_table(result))
    text = re.sub(r"\s+", " ", console.file.getvalue())  # type: ignore[attr-defined]
    for part in (headline(result), "7 of 471 trials", "✓ supported", "✕ contradicted", "9 of 12", "29.5 points"):
        assert part in text, part


def test_markdown_has_every_claim_and_its_picture(result: StudyResult, tmp_path: Path) -> None:
    path = write_study_markdown(tmp_path / "claims.md", result)
    text = path.read_text(encoding="utf-8")
    for row in claim_rows(result):
        assert f"| {row.claim} {row.title} | {row.word.sign} **{row.word.text}** |" in text
    for claim in result.claims:
        assert f"## {claim.claim}: {claim.title}" in text
        assert signs(claim.words) in text
        picture = tmp_path / "claims" / f"{claim.claim}.svg"
        assert f"](claims/{claim.claim}.svg)" in text
        assert picture.read_text(encoding="utf-8").startswith("<svg xmlns=")
        assert "data-points" not in picture.read_text(encoding="utf-8")
    assert "```bash\nbrittle study run claims --preset quick --out out\n```" in text
    assert "464 of 471 trials were run" in text
    assert "| *Frobenius scale, digits (control)* | −0.4 [−2.9, +2.1] |" in text
    assert "| low rank, digits, scale held | −38.0 [−40.5, −35.5] | −38.0 [−40.5, −35.5] | supported |" in text
    only = tuple(replace(cell, counts=False) for cell in result.claims[2].cells)
    assert standalone_svg(replace(result.claims[2], cells=only)).count("<polyline") == 12
    nothing = made_claim("C1", "Nothing yet", "inconclusive", (), "Inconclusive: no cell could be tested.")
    assert standalone_svg(nothing) == ""
    bare = render_study_markdown(replace(result, claims=(nothing,)), "claims")
    assert "claims/C1.svg" not in bare


def test_a_place_that_cannot_be_written_is_refused(result: StudyResult, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="choose a folder that exists"):
        write_study_html(tmp_path / "no" / "r.html", result, title="")
    (tmp_path / "page").write_text("")
    with pytest.raises(UsageError, match="cannot make the folder"):
        write_study_markdown(tmp_path / "page.md", result)


def test_names_with_dots_lead_to_their_points(result: StudyResult) -> None:
    own = replace(result.claims[0], claim="my.study-1")
    assert set(point_data(replace(result, claims=(own,)))["claims"]) == {"my.study-1"}
    assert 'data-points="my.study-1.0.0"' in render_study(replace(result, claims=(own,)), title="")


@pytest.fixture(scope="module", params=[1280, 390])
def browser(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed (dev extra)")
    if not (CHROMIUM and DRIVER):
        pytest.skip("chromium and chromedriver are not on the PATH")
    from selenium.webdriver.chrome.service import Service

    folder = tmp_path_factory.mktemp("study")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        size = {"width": request.param, "height": 900, "deviceScaleFactor": 1, "mobile": request.param < 600}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        study = made_study()
        dotted = replace(study.claims[0], claim="my.study")
        page = write_study_html(folder / "r.html", replace(study, claims=(*study.claims, dotted)), title="Claims")
        driver.get(page.as_uri())
        driver.width = request.param
        yield driver
    finally:
        driver.quit()


@pytest.mark.browser
def test_it_opens_without_errors_or_requests_and_fits(browser: Any) -> None:
    assert browser.execute_script("return document.documentElement.dataset.ready") == "true"
    assert [line for line in browser.get_log("browser") if line["level"] in ("SEVERE", "WARNING")] == []
    assert browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)") == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= browser.width
    for selector in ("#overview h2", "#overview-table .verdict", "#claim-C2 .plot", "#claim-C6 .multiples .plot"):
        assert browser.find_element("css selector", selector).is_displayed(), selector
    first = browser.find_element("css selector", "#overview-table tbody tr")
    assert first.location["y"] < 900  # seen without scrolling, on a phone too


@pytest.mark.browser
def test_the_outcome_can_be_chosen(browser: Any) -> None:
    from selenium.webdriver.support.ui import Select

    shown = "return [...document.querySelectorAll('#claim-C2 figure')].map(f => f.offsetHeight > 0)"
    assert browser.execute_script(shown) == [True, False]
    Select(browser.find_element("id", "outcome-C2")).select_by_index(1)
    assert browser.execute_script(shown) == [False, True]
    Select(browser.find_element("id", "outcome-C2")).select_by_index(0)


@pytest.mark.browser
@pytest.mark.parametrize("claim", ["C2", "my.study"])
def test_a_dot_says_its_trial_and_the_table_has_all(browser: Any, claim: str) -> None:
    study = made_study()
    cell = study.claims[0].cells[0]
    script = """const dots = document.querySelector('[data-points="' + arguments[0] + '.0.0"]').children;
        const dot = dots[3 * 5 + 2];
        dot.dispatchEvent(new PointerEvent('pointerover', {bubbles: true}));
        const tip = document.querySelector('.tip');
        const text = tip.innerText, right = tip.getBoundingClientRect().right;
        document.body.dispatchEvent(new PointerEvent('pointerover', {bubbles: true}));
        return [text, right, document.querySelectorAll('.tip').length];"""
    text, right, left = browser.execute_script(script, claim)
    assert cell.data.trials[3][2][0][:12] in text
    assert "1e-3, seed 3" in text
    assert right <= browser.width
    assert left == 0
    opened = """const part = document.querySelector('.points[data-claim="' + arguments[0] + '"]');
        part.open = true; return part;"""
    browser.execute_script(opened, claim)
    rows = "return document.querySelectorAll('.points[data-claim=\"' + arguments[0] + '\"] tbody tr').length"
    from selenium.webdriver.support.ui import WebDriverWait

    assert WebDriverWait(browser, 10).until(lambda driver: driver.execute_script(rows, claim)) == 75
