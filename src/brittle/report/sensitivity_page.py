"""What the two sections on directions and on perturbations show, gathered for the templates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from brittle.report import format as fmt
from brittle.report.amplification_plots import amplification_figures, amplification_threats
from brittle.report.direction_panels import direction_panels
from brittle.report.explained_plots import explained_cases, explained_figures
from brittle.report.figure import Figure
from brittle.report.landscape_plots import landscape_figures, landscape_groups
from brittle.report.nets import Net
from brittle.report.probe_plots import probe_figures, probe_options, probe_rows, probe_threats, threat_title
from brittle.report.radii_plots import QUANTILES, radii_figures, radii_norms, radius_rows
from brittle.report.transfer_rows import transfer_tables
from brittle.report.universal_rows import universal_groups, weight_free_rows


def sensitivity_context(shown: Sequence[Net]) -> dict[str, Any]:
    """The templates' variables; each is empty where nothing was measured."""
    panels, panels_left_out = direction_panels(shown)
    universal, universal_left_out = universal_groups(shown)
    transfers = transfer_tables(shown)
    groups = landscape_groups(shown)
    return {
        "panels": panels,
        "panels_left_out": panels_left_out,
        "map_options": [(str(i), panel.map) for i, panel in enumerate(panels)],
        "explained": explained_cases(shown),
        "amplification_options": [
            (f"a{i}", fmt.threat(norm, e)) for i, (norm, e) in enumerate(amplification_threats(shown))
        ],
        "landscapes": groups,
        "landscape_nets": [net for net in shown if any(net in group.nets for group in groups)],
        "probe_options": probe_options(shown),
        "probe_rows": probe_rows(shown),
        "probe_titles": [threat_title(key) for key in probe_threats(shown)],
        "radii_norms": radii_norms(shown),
        "radius_rows": radius_rows(shown),
        "radius_quantiles": [f"{100 * float(q):.0f}%" for q in QUANTILES],
        "universal": universal,
        "universal_left_out": universal_left_out,
        "transfers": transfers,
        "transfer_options": [(table.key, table.title) for table in transfers],
        "weight_free": weight_free_rows(shown),
    }


def sensitivity_figures(shown: Sequence[Net]) -> dict[str, Figure]:
    """The figures of both sections by the name that a chart asks for."""
    return {
        **explained_figures(explained_cases(shown)),
        **amplification_figures(shown),
        **landscape_figures(shown),
        **radii_figures(shown),
        **probe_figures(shown),
    }
