"""The terminal's tables (rich): brackets of robust accuracy, the layers that stand out, and the attribution."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from brittle.report import format as fmt
from brittle.report.rule import BRITTLE, NOT_BRITTLE, UNDECIDED, Word, max_drop, pair_word
from brittle.results.audit import Audit
from brittle.results.layer import LayerStructure
from brittle.results.robustness import threat_key

STYLES = {BRITTLE: "bold red", UNDECIDED: "bold yellow", NOT_BRITTLE: "bold green"}


def verdict_text(word: Word) -> Text:
    """A verdict with its sign and colour: "! brittle"."""
    return Text(f"{word.sign} {word.text}", style=STYLES.get(word, "bold"))


def bracket_table(audit: Audit) -> Table:
    """certified <= true robust accuracy <= attacked for each threat, and the paired drop where there is a base.

    Clean accuracy and n stand in the title where all rows share them, so that the table fits 80 columns.
    """
    compared = audit.comparison is not None
    shared = sorted({f"clean {fmt.percent(r.clean)}, n = {fmt.count(r.n)}" for r in audit.robustness})
    table = _table("Robust accuracy" + (f" ({shared[0]})" if len(shared) == 1 else ""))
    table.add_column("threat", no_wrap=True)
    if len(shared) > 1:
        table.add_column("clean", no_wrap=True)
    for heading in ("cert. ≥", "attacked ≤ [95%]", "noise", *(("drop [95% paired]",) if compared else ())):
        table.add_column(heading, justify="right", no_wrap=True)
    if compared:
        table.add_column("verdict", no_wrap=True)
    pairs = {} if audit.comparison is None else {threat_key(p.norm, p.epsilon): p for p in audit.comparison.paired}
    for r in audit.robustness:
        attacked = Text.assemble((fmt.percent(r.attacked), "bold"), " ", fmt.percent_interval(r.interval95))
        cells = [Text(f"{fmt.norm(r.norm)} {fmt.epsilon(r.epsilon)}")]
        if len(shared) > 1:
            cells.append(Text(f"{fmt.percent(r.clean)}, n = {fmt.count(r.n)}"))
        cells += [Text(fmt.percent(r.certified)), attacked, Text(fmt.percent(r.noise))]
        pair = pairs.get(threat_key(r.norm, r.epsilon))
        if pair is not None:
            drop = f"{fmt.points(pair.drop_points)} {fmt.points_interval(pair.interval95)}"
            cells += [Text(drop), verdict_text(pair_word(pair, max_drop(audit)))]
        elif compared:
            cells += [Text(fmt.MISSING)] * 2
        table.add_row(*cells)
    return table


def layer_table(audit: Audit, *, limit: int = 8) -> Table:
    """The `limit` layers with the largest l_inf structure factor (amplification at a given size), largest first."""
    layers = sorted(audit.layers, key=lambda layer: -layer.structure.linf)[:limit]
    more = len(audit.layers) - len(layers)
    table = _table("Layers" + (f" (largest structure factors; {more} more in the full report)" if more else ""))
    table.add_column("layer", overflow="fold")
    headings = (
        "residual\nrows ν",
        "residual\nvalues σ",
        "norm\nℓ∞",
        "norm\nℓ₂",
        "structure\nℓ∞",
        "structure\nℓ₂",
        "scale",
    )
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for layer in layers:
        cells = (
            layer.name,
            fmt.percent(layer.neuron.epsilon),
            fmt.percent(layer.spectral.epsilon),
            _norm(layer, "linf"),
            _norm(layer, "l2"),
            fmt.number(layer.structure.linf),
            fmt.number(layer.structure.l2),
            fmt.number(layer.scale),
        )
        table.add_row(*(Text(cell) for cell in cells))
    return table


def attribution_table(audit: Audit, *, limit: int = 8) -> Table | None:
    """Change of log norm from the base, layer by layer, with the sum over all layers; None without an attribution."""
    if audit.comparison is None or not audit.comparison.attribution:
        return None
    changes = audit.comparison.attribution
    largest = sorted(changes, key=lambda c: -abs(c.log_scale + c.log_structure_linf))[:limit]
    more = len(changes) - len(largest)
    table = _table(
        "What changed from the base, in log units" + (f" ({more} smaller changes not shown)" if more else "")
    )
    table.add_column("layer", overflow="fold")
    for heading in ("scale", "structure ℓ∞", "sum ℓ∞", "structure ℓ₂", "sum ℓ₂"):
        table.add_column(heading, justify="right")
    rows = [(c.layer, c.log_scale, c.log_structure_linf, c.log_structure_l2) for c in changes if c in largest]
    total = (
        sum(c.log_scale for c in changes),
        sum(c.log_structure_linf for c in changes),
        sum(c.log_structure_l2 for c in changes),
    )
    for i, (name, scale, linf, l2) in enumerate([*rows, (f"all {len(changes)} layers", *total)]):
        numbers = (scale, linf, scale + linf, l2, scale + l2)
        table.add_row(Text(name), *(fmt.logs(value) for value in numbers), end_section=i == len(rows) - 1)
    return table


def _norm(layer: LayerStructure, p: str) -> str:
    bound = layer.norms.get(p)
    return fmt.MISSING if bound is None else fmt.bounded(bound.value, bound.status)


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim")
