"""The demo's table for the terminal."""

from __future__ import annotations

from rich.table import Table

from brittle.results.summary import NetSummary, Summary


def summary_table(summary: Summary) -> Table:
    """One row for each net: size, clean accuracy, robust accuracy and the drop with its interval, the verdict."""
    keys = list(summary.nets[0].robust)
    count = len(summary.seeds)
    title = (
        f"{summary.samples} test images, {count} seed{'s' if count > 1 else ''}; "
        "below: points lost against the original, 95 % interval"
    )
    table = Table(title=title, title_justify="left", header_style="bold")
    for column in ("net", "parameters", "clean"):
        table.add_column(column, justify="left" if column == "net" else "right", no_wrap=True)
    for key in keys:
        table.add_column(key.replace("@", " "), justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for net in summary.nets:
        table.add_row(
            net.name,
            str(net.parameters),
            _cell(net, "clean", net.clean),
            *(_cell(net, k, net.robust[k]) for k in keys),
            net.verdict,
        )
    return table


def _cell(net: NetSummary, key: str, accuracy: float) -> str:
    text = f"{100 * accuracy:.1f} %"
    if key not in net.drop_points:
        return text
    low, high = net.interval95[key]
    return f"{text}\n{net.drop_points[key]:+.1f} [{low:.1f}, {high:.1f}]"
