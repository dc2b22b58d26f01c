"""The tables of the compression page."""

from __future__ import annotations

from brittle.report import format as fmt
from brittle.report.compression_words import by_threat, bytes_text, latency_label, latency_text
from brittle.report.recipe_words import recipe_words
from brittle.results.compression import CompressionResult, LayerChange


def size_rows(result: CompressionResult) -> list[tuple[str, str, str, str]]:
    """(quantity, parent, child, how many times smaller)."""
    a, b = result.parent_size, result.child_size
    rows = [
        ("parameters", fmt.count(a.parameters), fmt.count(b.parameters), _ratio(a.parameters, b.parameters)),
        ("parameters that are not zero", fmt.count(a.nonzero), fmt.count(b.nonzero), _ratio(a.nonzero, b.nonzero)),
        ("bits of a weight", str(a.bits), str(b.bits), _ratio(a.bits, b.bits)),
        (
            "multiply-adds for one sample",
            _count(a.multiply_adds),
            _count(b.multiply_adds),
            _ratio(a.multiply_adds, b.multiply_adds),
        ),
        ("file", bytes_text(a.file_bytes), bytes_text(b.file_bytes), _ratio(a.file_bytes, b.file_bytes)),
    ]
    if a.latency_ms is not None and b.latency_ms is not None:
        rows.append((latency_label(b), latency_text(a), latency_text(b), _ratio(a.latency_ms, b.latency_ms)))
    return rows


def _count(value: int | None) -> str:
    return fmt.MISSING if value is None else fmt.count(value)


def _ratio(before: float | None, after: float | None) -> str:
    return fmt.MISSING if not before or not after else fmt.factor(before / after)


def score_rows(result: CompressionResult) -> list[tuple[str, list[tuple[str, str]]]]:
    """(net, (value, interval) for clean and each radius): the parent, the child before its recovery, the child."""
    nets = (
        ("parent", result.parent_scores),
        ("before recovery", result.before_recovery),
        ("compressed", result.after),
    )
    threats = measured(result)
    rows = []
    for name, scored in nets:
        if scored is None:
            continue
        cells = [(fmt.percent(scored.clean), fmt.percent_interval(scored.clean_interval95))]
        found = by_threat(scored)
        for threat in threats:
            row = found.get(threat)
            cells.append(
                (fmt.MISSING, "") if row is None else (fmt.percent(row.attacked), fmt.percent_interval(row.interval95))
            )
        rows.append((name, cells))
    if result.drops:
        drops = {(d.norm, d.epsilon): d for d in result.drops}
        cells = [
            (fmt.points(d.points), fmt.points_interval(d.interval95)) if (d := drops.get(key)) else (fmt.MISSING, "")
            for key in (("clean", 0.0), *threats)
        ]
        rows.append(("drop, points", cells))
    return rows


def measured(result: CompressionResult) -> list[tuple[str, float]]:
    """The (norm, radius) that any net was scored at, in the order met."""
    found: dict[tuple[str, float], None] = {}
    for scored in (result.parent_scores, result.before_recovery, result.after):
        for row in () if scored is None else scored.robust:
            found.setdefault((row.norm, row.epsilon))
    return list(found)


def threat_titles(result: CompressionResult) -> list[str]:
    """The same radii as headings."""
    return [fmt.threat(norm, epsilon) for norm, epsilon in measured(result)]


def prediction_rows(result: CompressionResult) -> list[tuple[str, str, str, str]]:
    """(quantity, predicted, measured, measured less predicted in points); empty without a prediction."""
    p = result.prediction
    if p is None:
        return []
    rows = [_predicted("clean accuracy", p.predicted_clean, p.measured_clean)]
    if p.predicted_robust is not None and p.measured_robust is not None:
        rows.append(_predicted("accuracy under the plan's attack", p.predicted_robust, p.measured_robust))
    return rows


def _predicted(label: str, predicted: float, measured: float) -> tuple[str, str, str, str]:
    return label, fmt.percent(predicted), fmt.percent(measured), fmt.points(100 * (measured - predicted))


def layer_rows(result: CompressionResult) -> list[list[tuple[str, float | str]]]:
    """Cells (text, value to sort by) of each layer: name, shapes, rank, density, parameters, share kept."""
    rows: list[list[tuple[str, float | str]]] = []
    for layer in result.layers:
        kept = layer.parameters_after / max(1, layer.parameters_before)
        rows.append(
            [
                (layer.name or "(the model)", layer.name),
                (fmt.shape(layer.before), float(layer.parameters_before)),
                (fmt.shape(layer.after) if layer.after else "gone", float(layer.parameters_after)),
                (_cut(layer), float(layer.rank or 0)),
                (fmt.percent(layer.density), layer.density),
                (fmt.count(layer.parameters_before), float(layer.parameters_before)),
                (fmt.count(layer.parameters_after), float(layer.parameters_after)),
                (fmt.percent(kept), kept),
            ]
        )
    return rows


def _cut(layer: LayerChange) -> str:
    """The rank of a layer, and the mixtures of its input that a nested one reads."""
    words = ["dense" if layer.rank is None else str(layer.rank)]
    for mixtures, of in zip(layer.modes or (), ("channels", "positions"), strict=False):
        words += [f"{mixtures} {of}"] if mixtures else []
    return ", ".join(words)


def asked_rows(result: CompressionResult) -> list[tuple[str, str]]:
    """(label, value): what was asked for."""
    a = result.asked
    rows = [
        ("method", a.method + (", robust" if a.robust else "")),
        ("share kept", fmt.percent(a.keep)),
        ("threats measured", ", ".join(fmt.threat(a.norm, epsilon) for epsilon in a.epsilon)),
        ("defended against", "none" if a.defended is None else fmt.threat(a.norm, a.defended)),
        ("recovery", f"{a.recover}, {a.finetune:g} gradient evaluations per image" if a.recover else "none"),
        ("penalties", "; ".join(f"{name} {strength:g}" for name, strength in a.penalties.items()) or "none"),
    ]
    if a.flatten is not None:
        rows.append(("spectra flattened by", f"{a.flatten:g}"))
    if a.orthonormal is not None:
        rows.append(("largest condition number", f"{a.orthonormal:g}"))
    if a.sweep:
        rows.append(("sweep", ", ".join(fmt.percent(share) for share in a.sweep)))
    return rows


def reproduce_rows(result: CompressionResult) -> list[tuple[str, str]]:
    """(label, value): everything beside what was asked for."""
    s, f = result.settings, result.fitted
    return [
        ("data", f"{result.data.name}, {result.data.split}, {fmt.count(result.data.samples)} samples"),
        ("scored on", f"sha256 {result.data.sha256}"),
        (
            "learned from",
            f"{f.split}: {fmt.count(f.train)} samples, {fmt.count(f.validation)} to choose the epoch by, "
            f"{fmt.count(f.evidence)} looked at to choose what stays",
        ),
        ("training sha256", f.sha256),
        ("attacks", f"effort {s.effort}, batches of {s.batch_size}"),
        ("recipe of the child", recipe_words(result.child.recipe, "none: a foreign module")),
        ("seed", str(result.seed)),
        ("device, precision", f"{s.device}, {s.dtype}"),
        ("brittle, torch", f"{result.brittle}, {s.torch}"),
        ("time", fmt.seconds(s.seconds)),
    ]


def front_rows(result: CompressionResult) -> list[tuple[str, list[str]]]:
    """(name, cells) of each network on the picture: method, parameters, share, clean, each radius, front, file."""
    rows = []
    parent = max(1, result.parent_size.parameters)
    for point in result.front:
        found = by_threat(point.scores)
        attacked = [found.get(threat) for threat in measured(result)]
        rows.append(
            (
                point.name,
                [
                    point.method,
                    fmt.count(point.parameters),
                    fmt.percent(point.parameters / parent),
                    fmt.percent(point.scores.clean),
                    *(fmt.MISSING if row is None else fmt.percent(row.attacked) for row in attacked),
                    "★" if point.on_front else "",
                    point.file or "",
                ],
            )
        )
    return rows
