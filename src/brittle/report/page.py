"""Everything the templates show, gathered once; and the figures' data for the script."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from brittle.report import format as fmt
from brittle.report.attribution_rows import cautions, sum_rows, unmatched
from brittle.report.comparison_rows import class_rows, threat_rows
from brittle.report.curves import curves
from brittle.report.glossary import GLOSSARY
from brittle.report.headline import headline, summary
from brittle.report.ladder_rows import gap_rows, ladder_tables
from brittle.report.layer_columns import COLUMNS, Column, columns_for, groups
from brittle.report.nets import Net, children, nets, norms, threats
from brittle.report.pictures import pictures
from brittle.report.plots import attribution_figure, drop_figure, epsilon_figure
from brittle.report.record_rows import finding_rows, masking_rows, not_computed, setting_rows, unmeasured_rows
from brittle.report.rule import max_drop
from brittle.report.sections import sections
from brittle.report.sensitivity_page import sensitivity_context, sensitivity_figures
from brittle.report.waterfall import waterfalls
from brittle.results.audit import Audit


def context(audits: Sequence[Audit]) -> dict[str, Any]:
    """The template's variables."""
    shown = nets(audits)
    audited = tuple(net for net in shown if net.audit is not None)
    compared = children(shown)
    cards = [headline(net, shown) for net in audited if net in compared or not net.is_base]
    found = threats(audits)
    images, images_left_out = pictures(shown)
    figures = _figures(shown, found, norms(audits))
    grouped = class_rows(shown, found)
    layer_curves = curves(shown)
    columns = columns_for(sum(len(audit.layers) for audit in audits))
    sums = sum_rows(shown, norms(audits))
    found_sections = sections(audits)
    return {
        **sensitivity_context(shown),
        "sections": found_sections,
        "number": {section.name: section.number for section in found_sections},
        "fmt": fmt,
        "nets": shown,
        "audited": audited,
        "compared": compared,
        "cards": cards,
        "base": next((net for net in shown if net.is_base), None),
        "summary": summary(shown),
        "data": list(dict.fromkeys(a.data for a in audits)),
        "partial": [net for net in audited if net.audit and net.audit.partial],
        "tolerances": sorted({max_drop(net.audit) for net in compared if net.audit}),
        "norms": norms(audits),
        "threats": found,
        "threat_rows": threat_rows(shown, found),
        "class_rows": grouped,
        "class_scale": max((abs(d) for g in grouped for _, drops in g.rows for d in drops if d is not None), default=0)
        or 1,
        "class_first": _worst_group(cards, [group.title for group in grouped]),
        "sum_rows": sums,
        "cautions": cautions(shown),
        "unmatched": unmatched(shown),
        "columns": columns,
        "columns_left_out": len(COLUMNS) - len(columns),
        "leads": _leads(columns),
        "column_groups": groups(columns),
        "chosen": _chosen(cards, audited),
        "ladders": ladder_tables(shown),
        "gaps": gap_rows(shown, found),
        "gap_samples": max((gap.n for net in audited if net.audit for gap in net.audit.gaps), default=0),
        "waterfalls": waterfalls(shown),
        "pictures": images,
        "pictures_left_out": images_left_out,
        "figures": figures,
        "class_options": [(str(i), group.title) for i, group in enumerate(grouped)],
        "attribution_options": [(n.key, n.name) for n in compared if any(row.net == n for row in sums)],
        "audited_options": [(net.key, net.name) for net in audited],
        "example_options": [(net.key, net.name) for net, _ in images],
        "page_curves": bool(layer_curves),
        "curve_options": [(i, layer["name"]) for i, layer in enumerate(layer_curves)],
        "unmeasured": unmeasured_rows(audited),
        "not_computed": not_computed(audited),
        "findings": finding_rows(audited),
        "masking": masking_rows(audited),
        "settings": setting_rows(audited),
        "glossary": GLOSSARY,
        "page_data": {
            "nets": [
                {"key": net.key, "name": net.name, "colour": net.colour, "symbol": net.symbol, "dash": net.dash}
                for net in shown
            ],
            "figures": figures,
            "curves": layer_curves,
        },
    }


def _figures(shown: Sequence[Net], found: Sequence[tuple[str, float]], measured: Sequence[str]) -> dict[str, Any]:
    """Figures by the name that a chart's `data-figure` asks for."""
    figures = {"drops": drop_figure(shown, found), **sensitivity_figures(shown)}
    for norm in measured:
        figures[f"epsilon-{norm}"] = epsilon_figure(shown, norm, [e for name, e in found if name == norm])
        for net in children(shown):
            if net.audit is not None and net.audit.comparison is not None:
                figures[f"attribution-{norm}-{net.key}"] = attribution_figure(net.audit.comparison, norm)
    return {name: figure for name, figure in figures.items() if figure is not None}


def _leads(columns: Sequence[Column]) -> list[int]:
    """Places of the first main column of each group but the first: a little room stands before them."""
    groups_seen: dict[str, int] = {}
    for place, column in enumerate(columns):
        if column.main:
            groups_seen.setdefault(column.group, place)
    return list(groups_seen.values())[1:]


def _chosen(cards: Sequence[Any], audited: Sequence[Net]) -> str:
    """The net that choosers start with: the first brittle one, else the first undecided, else the first card."""
    for css in ("brittle", "undecided"):
        for card in cards:
            if card.word.css == css:
                return str(card.net.key)
    return str(cards[0].net.key if cards else audited[0].key)


def _worst_group(cards: Sequence[Any], titles: Sequence[str]) -> int:
    """The threat that the class table starts with: the one the first chosen card speaks of."""
    text = next((card.sentence for card in cards if card.word.css == "brittle"), cards[0].sentence if cards else "")
    hits = [i for i, title in enumerate(titles) if title in text]
    return max(hits, key=lambda i: len(titles[i])) if hits else len(titles) - 1
