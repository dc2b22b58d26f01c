"""A made language model of billions of weights, audited for structure from its shards: memory, time, kill and resume.

    python -m benchmarks.streaming --size 7b --folder BIG_DISK

makes a bf16 checkpoint layer by layer in a new folder inside --folder, audits it in a process that is killed on the
way and started again, follows its memory, checks estimates against a full decomposition, prints tables, and removes
everything.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from brittle.checkpoints.files import find_checkpoint
from brittle.checkpoints.plan import plan
from brittle.checkpoints.reading import reading
from brittle.compressibility.rank import effective_rank
from brittle.compressibility.residual import residual
from brittle.results.serialise import read_json
from brittle.results.structure import MatrixStructure, StructureAudit


@dataclass(frozen=True)
class Size:
    layers: int
    width: int
    hidden: int
    vocabulary: int


SIZES = {
    "tiny": Size(3, 96, 256, 400),
    "1b": Size(16, 2048 + 512, 6912, 32000),
    "3b": Size(26, 3200, 8640, 32000),
    "7b": Size(32, 4096, 11008, 32000),
}
_MIB = 2**20


def shapes(size: Size) -> Iterator[dict[str, tuple[int, ...]]]:
    """Names and shapes of one shard after another."""
    w, h = size.width, size.hidden
    yield {"model.embed_tokens.weight": (size.vocabulary, w)}
    for i in range(size.layers):
        layer = f"model.layers.{i}"
        yield {
            **{f"{layer}.self_attn.{part}_proj.weight": (w, w) for part in "qkvo"},
            f"{layer}.mlp.gate_proj.weight": (h, w),
            f"{layer}.mlp.up_proj.weight": (h, w),
            f"{layer}.mlp.down_proj.weight": (w, h),
            f"{layer}.input_layernorm.weight": (w,),
        }
    yield {"model.norm.weight": (w,), "lm_head.weight": (size.vocabulary, w)}


def numbers(size: Size) -> int:
    return sum(torch.Size(shape).numel() for shard in shapes(size) for shape in shard.values())


def make(folder: Path, size: Size) -> None:
    """Normal matrices whose columns fall off as a power that grows with depth, so that structure changes over depth."""
    generator = torch.Generator().manual_seed(0)
    where: dict[str, str] = {}
    for number, shard in enumerate(shapes(size)):
        tensors = {}
        for name, shape in shard.items():
            if len(shape) == 1:
                tensors[name] = torch.ones(shape, dtype=torch.bfloat16)
                continue
            falling = torch.arange(1, shape[1] + 1.0) ** (-0.5 * number / (size.layers + 1))
            tensors[name] = torch.empty(shape, dtype=torch.bfloat16)
            for rows in tensors[name].split(1024):
                rows.copy_(torch.randn(rows.shape, generator=generator) * falling)
        file = f"model-{number:05d}.safetensors"
        save_file(tensors, folder / file)
        where |= dict.fromkeys(tensors, file)
    index = {"metadata": {}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


@dataclass
class Watched:
    """Largest resident memory seen, MiB, of the process and its workers together; and how it ended."""

    anonymous: float = 0.0
    mapped: float = 0.0
    together: float = 0.0
    high_water: float = 0.0
    seconds: float = 0.0
    code: int = 0


def audit(folder: Path, work: Path, workers: int, stop_after: int | None) -> Watched:
    """`brittle audit` in a process of its own; killed with SIGKILL once `stop_after` matrices are kept."""
    command = [sys.executable, "-m", "brittle", "audit", str(folder), "--workers", str(workers)]
    command += ["--resume", str(work / "kept"), "--json", str(work / "a.json"), "--html", str(work / "a.html")]
    start = time.monotonic()
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)
    seen = Watched()
    while process.poll() is None:
        _look(process.pid, seen)
        if stop_after is not None and len(list((work / "kept").glob("matrix-*.json"))) >= stop_after:
            process.send_signal(signal.SIGKILL)
        time.sleep(0.1)
    seen.seconds, seen.code = time.monotonic() - start, process.returncode
    return seen


def _look(pid: int, seen: Watched) -> None:
    anonymous = mapped = high = 0.0
    for one in (pid, *_children(pid)):
        try:
            lines = dict(line.split(":", 1) for line in Path(f"/proc/{one}/status").read_text().splitlines())
            anonymous += int(lines["RssAnon"].split()[0]) / 1024
            mapped += (int(lines["RssFile"].split()[0]) + int(lines["RssShmem"].split()[0])) / 1024
            high += int(lines["VmHWM"].split()[0]) / 1024
        except (OSError, KeyError, ValueError):
            continue
    seen.anonymous, seen.mapped = max(seen.anonymous, anonymous), max(seen.mapped, mapped)
    seen.together, seen.high_water = max(seen.together, anonymous + mapped), max(seen.high_water, high)


def _children(pid: int) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def check(folder: Path, rows: dict[str, MatrixStructure], names: list[str]) -> list[str]:
    """Estimates of some matrices beside all their singular values (float64, in this process)."""
    lines = ["| Matrix | Quantity | All values | Estimate | 95 % interval | Inside |", "|---|---|---|---|---|---|"]
    for matrix in plan(find_checkpoint(folder)).matrices:
        if matrix.name not in names:
            continue
        with reading(matrix) as reader:
            w = reader.block((0, matrix.sides[0]))
        short = w if w.shape[0] <= w.shape[1] else w.T
        sigma = torch.linalg.eigvalsh(short @ short.T).clamp_min(0).sqrt().flip(0)
        found = rows[matrix.name].spectral
        for label, truth, quantity in (
            ("effective rank", effective_rank(sigma), found.effective_rank),
            ("residual at 10 %", residual(sigma, found.k), found.epsilon),
            ("largest value", float(sigma[0]), found.sigma_max),
        ):
            low, high = quantity.interval95 or (quantity.value, quantity.value)
            # all values carry rounding of their own
            inside = low * (1 - 1e-9) <= truth <= high * (1 + 1e-9)
            lines.append(
                f"| {matrix.name} {matrix.shape[0]} × {matrix.shape[1]} | {label} | {truth:.5g} | {quantity.value:.5g} "
                f"| [{low:.5g}, {high:.5g}] | {'yes' if inside else 'no'} |"
            )
    return lines


def run(size_name: str, folder: Path, workers: int, checked: list[str]) -> str:
    size = SIZES[size_name]
    need, free = int(numbers(size) * 2 * 1.05) + 200 * _MIB, shutil.disk_usage(folder).free
    if need > free:
        sys.exit(f"{size_name} needs {need / 2**30:.1f} GiB in {folder}, {free / 2**30:.1f} GiB are free: use less")
    place = Path(tempfile.mkdtemp(prefix="brittle-streaming-", dir=folder))
    try:
        made, work = place / "made", place / "work"
        made.mkdir()
        (work / "kept").mkdir(parents=True)
        make(made, size)
        matrices = len(plan(find_checkpoint(made)).matrices)
        on_disk = sum(file.stat().st_size for file in made.iterdir())
        first = audit(made, work, workers, stop_after=matrices // 3)
        kept = {file.name: file.read_bytes() for file in (work / "kept").glob("matrix-*.json")}
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        second = audit(made, work, workers, stop_after=None)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert first.code == -signal.SIGKILL, f"the first run ended with {first.code}, not killed"
        assert second.code == 0, f"the second run ended with {second.code}"
        untouched = all((work / "kept" / name).read_bytes() == content for name, content in kept.items())
        result = StructureAudit.from_dict(read_json(work / "a.json"))
        assert len(result.matrices) == matrices
        rows = {row.name: row for row in result.matrices}
        estimated = sum(row.spectral.method == "random probes" for row in result.matrices)
        cpu = sum(getattr(after, name) - getattr(before, name) for name in ("ru_utime", "ru_stime"))
        peak = max(first.high_water, second.high_water)
        lines = [
            "| | |",
            "|---|---|",
            f"| Numbers | {numbers(size):,} |",
            f"| On disk | {on_disk / 2**30:.1f} GiB of bf16 in {len(list(shapes(size)))} shards |",
            f"| Matrices | {matrices}, {estimated} of them by random probes |",
            f"| Workers | {workers} |",
            f"| Peak resident memory, mapped pages included (VmHWM) | {peak:,.0f} MiB |",
            f"| Anonymous part, at most | {max(first.anonymous, second.anonymous):,.0f} MiB |",
            f"| Part mapped from files, libraries included, at most | {max(first.mapped, second.mapped):,.0f} MiB |",
            f"| Bound told before the work | {result.settings.memory_bound / _MIB:,.0f} MiB |",
            f"| Killed with {len(kept)} matrices kept | after {first.seconds:,.0f} s |",
            f"| Resumed, to the report | {second.seconds:,.0f} s |",
            f"| Kept matrices untouched by the second run | {'yes' if untouched else 'no'} |",
            f"| CPU time of the resumed run, {matrices - len(kept)} matrices | {cpu / 60:.1f} min |",
            f"| Page, JSON | {(work / 'a.html').stat().st_size / _MIB:.1f} MiB, "
            f"{(work / 'a.json').stat().st_size / _MIB:.1f} MiB |",
            "",
            *check(made, rows, checked),
        ]
        keep = os.environ.get("STREAMING_KEEP")
        if keep:
            for name in ("a.html", "a.json"):
                shutil.copy(work / name, Path(keep) / f"{size_name}-{name}")
        return "\n".join(lines)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="1b")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--check", nargs="*", default=["model.layers.0.self_attn.q_proj"])
    given = parser.parse_args()
    print(run(given.size, given.folder, given.workers, given.check))


if __name__ == "__main__":
    main()
