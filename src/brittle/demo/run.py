"""Runs the demo: trains, audits each net against the original, writes report, summary and audits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from brittle.auditing.crossing import crossed
from brittle.auditing.options import AuditOptions
from brittle.auditing.progress import prefixed
from brittle.auditing.run import Subject, audit_one
from brittle.compare import any_verdict, compare, pair_verdict, pooled_drop
from brittle.data.load import load_data
from brittle.demo.nets import METHODS, train_nets
from brittle.evaluation.progress import Progress
from brittle.files import make_folder, write_text
from brittle.models.file import save
from brittle.report.html import write_html
from brittle.results.audit import Audit
from brittle.results.robustness import threat_key
from brittle.results.serialise import dumps
from brittle.results.summary import SUMMARY_SCHEMA, NetSummary, Summary

_WORDS = {True: "brittle", False: "not brittle", None: "undecided"}
EPSILON = {"linf": (0.05, 0.1), "l2": (0.5,)}
INTRO = (
    "A network for handwritten digits (8 x 8 scans, scikit-learn) and three networks of a fifth of its parameters: "
    "the same size, reached in three ways, fine-tuned alike. Each is attacked on the same test images with the same "
    "random numbers. Does it matter how a network was made small?"
)


@dataclass(frozen=True)
class DemoResult:
    """The first seed's audits (original first), the summary over all seeds, and where the report lies."""

    audits: tuple[Audit, ...]
    summary: Summary
    report: Path


def run_demo(out: Path, seed: int, seeds: int, progress: Progress | None = None) -> DemoResult:
    """The whole demo for `seeds` seeds from `seed` on, written to the folder `out`."""
    data = load_data("digits")
    series: list[dict[str, Audit]] = []
    make_folder(out)
    for number in range(seed, seed + seeds):
        made = train_nets(data, number, prefixed(progress, f"seed {number}: " if seeds > 1 else ""))
        audits: dict[str, Audit] = {}
        options = AuditOptions(epsilon=EPSILON, samples=None, seed=number)
        original = Subject(made.nets["original"], "original")
        for name, net in made.nets.items():
            told = prefixed(progress, f"seed {number}: {name}: " if seeds > 1 else f"{name}: ")
            command = f"brittle demo --seed {seed} --seeds {seeds}"
            audit = audit_one(Subject(net, name), data, options, command=command, progress=told)
            if audits:
                audit = compare(audits["original"], audit, options.max_drop)
                audit = crossed(audit, original, Subject(net, name), data, options, progress=told)
            audits[name] = audit
        folder = make_folder(out if number == seed else out / f"seed-{number}")
        for name, net in made.nets.items():
            save(net, folder / f"{name}.safetensors")
            write_text(folder / f"{name}.json", dumps(audits[name]))
        series.append(audits)
    first = tuple(series[0].values())
    report = write_html(
        out / "report.html", first, title="brittle demo: one network, made small in three ways", intro=INTRO
    )
    summary = summarise(series, tuple(range(seed, seed + seeds)), report.name)
    write_text(out / "summary.json", dumps(summary))
    return DemoResult(first, summary, report)


def summarise(series: Sequence[dict[str, Audit]], seeds: tuple[int, ...], report: str) -> Summary:
    """Means over seeds and drops against the original with intervals that pool seeds and samples."""
    keys = [threat_key(row.norm, row.epsilon) for row in series[0]["original"].robustness]
    bases = [audits["original"] for audits in series]
    nets = []
    for name, method in METHODS.items():
        runs = [audits[name] for audits in series]
        drops = {} if name == "original" else {key: pooled_drop(bases, runs, key, seeds[0]) for key in ("clean", *keys)}
        nets.append(
            NetSummary(
                name=name,
                method=method,
                parameters=runs[0].model.parameters,
                clean=_mean([run.robustness[0].clean for run in runs]),
                robust={key: _mean([run.robustness[i].attacked for run in runs]) for i, key in enumerate(keys)},
                certified={key: _mean([run.robustness[i].certified for run in runs]) for i, key in enumerate(keys)},
                drop_points={key: drop for key, (drop, _) in drops.items()},
                interval95={key: interval for key, (_, interval) in drops.items()},
                verdict=_word({key: interval for key, (_, interval) in drops.items() if key != "clean"}, runs[0]),
            )
        )
    return Summary(SUMMARY_SCHEMA, tuple(nets), report, series[0]["original"].data.samples, seeds)


def _word(intervals: dict[str, tuple[float, float]], audit: Audit) -> str:
    """The interface's rule on the pooled intervals."""
    if audit.verdict is None:
        return "reference"
    limit = audit.verdict.max_drop_points
    return _WORDS[any_verdict([pair_verdict(interval, limit) for interval in intervals.values()])]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
