"""The page holds every number, escapes every name, asks nothing of the network and stays small."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest

from brittle.errors import UsageError
from brittle.report import format as fmt
from brittle.report.embed import json_for_script, prose, static
from brittle.report.html import render_html, write_html
from brittle.results.audit import Audit, Check, ModelInfo
from brittle.results.robustness import Example
from tests.made_audits import made_audit, made_audits, made_children

NASTY = "<script>alert(1)</script>\"'&<!--"
OWN = ("report.js", "report.css", "plotly-cartesian.min.js")


@pytest.fixture(scope="module")
def page() -> str:
    return render_html(made_audits(), title="Four nets", intro="First paragraph.\n\nSecond one.")


def markup(page: str) -> str:
    """The page without our own scripts, styles and data."""
    for name in OWN:
        page = page.replace(str(static(name)), "")
    return re.sub(r'<script type="application/json".*?</script>', "", page, flags=re.S)


def text(page: str) -> str:
    return unescape(re.sub(r"<[^>]+>", "", markup(page))).replace("\u00a0", " ")


def test_every_accuracy_and_drop_is_in_the_text(page: str) -> None:
    words = text(page)
    for audit in made_audits():
        for r in audit.robustness:
            assert f"{fmt.percent(r.attacked)} {fmt.percent_interval(r.interval95)}" in words
            assert fmt.percent(r.certified) in words
            assert fmt.percent(r.noise) in words
        for p in audit.comparison.paired if audit.comparison else ():
            assert f"{fmt.points(p.drop_points)} {fmt.points_interval(p.interval95)}" in words


def test_every_bound_layer_metric_and_setting_is_in_the_text(page: str) -> None:
    words = text(page)
    for audit in made_audits():
        assert audit.settings.command in words
        assert audit.data.sha256 in words
        for ladder in audit.bounds.values():
            assert all(fmt.number(rung.value) in words for rung in ladder.ladder if rung.value is not None)
        for gap in audit.gaps:
            assert f"{fmt.number(gap.measured)} / {fmt.number(gap.bound)}" in words
        for layer in audit.layers:
            for value in (
                layer.neuron.pq_index,
                layer.spectral.stable_rank,
                layer.theorem31["linf"].upper,
                layer.scale,
            ):
                assert fmt.number(value) in words
    assert made_audit("low-rank").comparison.caution in words  # type: ignore[union-attr]
    assert made_audit("original").unmeasured[0].why in words
    assert "convolutions are larger than 4,096 units" in words
    assert "First paragraph." in words
    assert "Second one." in words


def test_every_number_on_directions_and_perturbations_is_in_the_text(page: str) -> None:
    words = text(page)
    for audit in made_audits():
        for found in audit.directions.values():
            for d in found.directions:
                for shown in (fmt.percent(d.share), fmt.percent(d.scored_share), fmt.number(d.residual)):
                    assert shown in words
        for c in (c for e in audit.explained for c in e.curve):
            assert f"{fmt.percent(c.damage)} {fmt.percent_interval(c.interval95)}" in words
            assert fmt.percent(c.random_damage) in words
        for u in audit.universal:
            assert f"{fmt.percent(u.fooling_rate)} {fmt.percent_interval(u.interval95)}" in words
            assert f"{fmt.percent(u.clean)} → {fmt.percent(u.accuracy)}" in words
        for p in audit.probes:
            assert f"{fmt.percent(p.clean)} {fmt.percent_interval(p.clean_interval95)}" in words
        for curve in audit.radii:
            assert all(fmt.number(r) in words for r in curve.quantiles.values())
        for w in audit.weight_free:
            assert f"{fmt.percent(w.damage_share)} {fmt.percent_interval(w.interval95)}" in words
        for check in audit.masking:
            assert check.advice in words


def test_masked_gradients_are_told_beside_the_brackets() -> None:
    for name, told in (("neuron-pruned", True), ("low-rank", False)):
        page = render_html([made_audit(name)], title="t")
        section = page.split('<section id="comparison"')[1].split("</section>")[0]
        assert ("Signs of masked gradients" in section) == told


def test_verdicts_are_words_not_colours_alone(page: str) -> None:
    for word, sign in (("brittle", "!"), ("not brittle", "✓"), ("undecided", "?")):
        assert f'<span class="icon" aria-hidden="true">{sign}</span>{word}</span>' in page


def nasty(audit: Audit) -> Audit:
    assert audit.comparison is not None
    layers = (replace(audit.layers[0], name=NASTY), *audit.layers[1:])
    changes = (replace(audit.comparison.attribution[0], layer=NASTY), *audit.comparison.attribution[1:])
    comparison = replace(
        audit.comparison, base=ModelInfo(NASTY + "b", 20, None), attribution=changes, caution=NASTY,
        transfer=tuple(replace(t, kind=NASTY, source=NASTY, target=NASTY + "c") for t in audit.comparison.transfer),
        weight_free=tuple(
            replace(w, knowledge=NASTY, kind=NASTY, source=NASTY) for w in audit.comparison.weight_free
        ),
    )  # fmt: skip
    return replace(
        audit,
        model=ModelInfo(NASTY, 10, {NASTY: NASTY}),
        data=replace(audit.data, name=NASTY, classes=(NASTY,) * 10),
        layers=layers,
        settings=replace(audit.settings, command=NASTY),
        directions={NASTY: replace(audit.directions["margin"], map=NASTY, trace_status=NASTY)},
        explained=tuple(replace(e, map=NASTY) for e in audit.explained),
        amplification=tuple(replace(a, layer=NASTY) for a in audit.amplification),
        probes=tuple(replace(p, change=NASTY, robust={NASTY: 0.5}, robust_interval95={}) for p in audit.probes),
        radii=tuple(replace(r, attack=NASTY, norm=NASTY) for r in audit.radii),
        universal=tuple(replace(u, method=NASTY, target=NASTY, norm=NASTY) for u in audit.universal),
        masking=(Check(NASTY, "warning", NASTY),),
        comparison=comparison,
    )


def test_nasty_names_are_escaped_everywhere() -> None:
    page = render_html([nasty(made_audit("low-rank"))], title=NASTY, intro=NASTY)
    rest = page
    for name in OWN:
        rest = rest.replace(str(static(name)), "")
    assert "<script>alert" not in rest
    assert "<!--" not in rest
    assert rest.count("</script>") == 3
    assert NASTY in text(page)
    # every figure's text is escaped once more, because plotly reads HTML in it
    data = re.search(r'id="page-data">(.*?)</script>', page, re.S)
    assert data is not None
    figures = json.dumps(list(json.loads(data[1])["figures"].values()))
    assert "alert" in figures
    assert "<script" not in figures


def test_a_name_cannot_become_a_link_in_a_figure() -> None:
    audit = replace(made_audit("low-rank"), model=ModelInfo('<a href="https://x.test">x</a>', 10, None))
    data = json.loads(re.search(r'id="page-data">(.*?)</script>', render_html([audit], title="t"), re.S)[1])  # type: ignore[index]
    texts = json.dumps([trace.get("text") for trace in data["figures"]["drops"]["traces"]])
    assert "<a" not in texts
    assert "&lt;a" in texts


def test_json_cannot_leave_its_script_element() -> None:
    values = {"k": "</script><!--&\u2028"}
    written = json_for_script(values)
    assert not set("<>&\u2028") & set(written)
    assert json.loads(written) == values
    with pytest.raises(ValueError, match="Out of range"):
        json_for_script([float("nan")])


def test_prose_marks_code_and_escapes() -> None:
    assert prose("run `a --b` <now>") == "run <code>a --b</code> &lt;now&gt;"
    assert prose("one ` alone") == "one ` alone"
    assert "<code>&lt;i&gt;</code>" in prose("`<i>`")


def test_no_address_outside_the_page(page: str) -> None:
    rest = markup(page)
    assert not re.findall(r"https?://|//[a-z0-9.-]+\.[a-z]{2,}", rest)
    assert not re.findall(r"\b(?:href|action)=\"(?!#)", rest)
    assert all(uri.startswith("data:image/png;base64,") for uri in re.findall(r'\bsrc="([^"]*)"', rest))
    for name in ("report.js", "report.css"):
        assert not re.search(r"https?:|@import|url\(|fetch\(|XMLHttpRequest", static(name))
    assert "default-src 'none'" in rest


def test_images_that_are_no_inline_png_never_reach_the_page() -> None:
    audit = made_audit("low-rank")
    bad = replace(audit.examples[0], clean_png="https://spy.example/a.png")
    page = render_html([replace(audit, examples=(bad,))], title="t")
    assert "spy.example" not in page


def big(name: str, i: int) -> Audit:
    """150 layers, and pictures of everything that are far larger than the page has room for."""
    audit = made_audit(name)
    curve = tuple(1.0 / (1 + j) for j in range(256))
    layers = tuple(
        replace(audit.layers[j % 4], name=f"features.block{j}.conv", singular_values=curve, row_norms=curve)
        for j in range(150)
    )
    picture = "data:image/png;base64," + "A" * 40_000
    small = picture[:9_000]
    example = Example("linf", 0.1, 1, "1", "1", "2", picture, picture, picture)
    directions = {
        key: replace(found, directions=tuple(replace(d, png=small) for d in found.directions * 4))
        for key, found in audit.directions.items()
    }
    regions = tuple(tuple(range(10)) * 20 for _ in range(200))
    return replace(
        audit,
        model=replace(audit.model, name=f"{name}{i}"),
        layers=layers,
        examples=(example,) * 8,
        directions=directions,
        amplification=tuple(replace(audit.amplification[j % 8], layer=f"block{j}.conv") for j in range(150)),
        landscapes=tuple(replace(audit.landscapes[0], epsilon=e, regions=regions) for e in (0.1, 0.2, 0.3)),
        radii=tuple(replace(r, radii=tuple(j / 7_000 for j in range(5_000)), n=5_000) for r in audit.radii),
        universal=tuple(replace(u, png=small) for u in audit.universal * 3),
    )


def test_the_page_stays_under_three_megabytes() -> None:
    assert len(render_html(made_audits(), title="t").encode()) < 2_200_000
    page = render_html([big(name, i) for i, name in enumerate(("low-rank", "neuron-pruned"))], title="t")
    assert len(page.encode()) < 3_000_000
    assert "more examples" in text(page)
    assert "pictures left out to keep the page small" in text(page)
    assert "further columns are left out" not in text(page)
    deep = [big("low-rank", i) for i in range(4)]
    page = render_html(deep, title="t")
    assert len(page.encode()) < 3_000_000
    assert "further columns are left out" in text(page)


@pytest.mark.parametrize("audits", [made_children(), made_audits()[:1], made_audits()[1:2]])
def test_other_sets_of_audits(audits: tuple[Audit, ...]) -> None:
    words = text(render_html(audits, title="t"))
    assert "original" in words
    if audits[0].comparison is not None:
        assert fmt.percent(audits[0].comparison.paired[0].base_robust) in words


def test_bare_audits_and_partial_results_are_said() -> None:
    bare = replace(
        made_audit("original"), robustness=(), bounds={}, gaps=(), examples=(), layers=(), unmeasured=(), preflight=(),
        universal=(), directions={}, partial=True, explained=(), amplification=(), landscapes=(), probes=(), radii=(),
        weight_free=(), masking=(),
    )  # fmt: skip
    page = render_html([bare], title="t")
    words = text(page)
    for name in ("directions", "beyond"):
        assert f'id="{name}"' not in page
        assert f'href="#{name}"' not in page
    assert "masked gradients" not in words
    for sentence in (
        "No accuracy was measured",
        "No bound on the whole net",
        "No example images",
        "results are partial",
    ):
        assert sentence in words


def test_different_samples_are_pointed_out() -> None:
    other = made_audit("narrow")
    audits = [made_audit("low-rank"), replace(other, data=replace(other.data, sha256="0" * 64))]
    assert "different samples" in text(render_html(audits, title="t"))


def test_no_audit_is_refused() -> None:
    with pytest.raises(UsageError, match="a report needs at least one audit, got none"):
        render_html([], title="t")


def test_write_html_replaces_the_file_whole(tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    target.write_text("old")
    assert write_html(target, made_children(), title="t") == target
    assert target.read_text(encoding="utf-8") == render_html(made_children(), title="t")
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_write_html_refuses_a_missing_folder_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot write .*choose a folder that exists"):
        write_html(tmp_path / "no" / "report.html", made_children(), title="t")
    (tmp_path / "report.html").mkdir()
    with pytest.raises(UsageError, match=r"cannot write .*choose a file that can be written"):
        write_html(tmp_path / "report.html", made_children(), title="t")
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
