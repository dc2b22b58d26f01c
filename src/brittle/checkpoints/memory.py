"""How much memory the work will take at most, told and checked before it starts. Legend: n short side, l long side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from brittle.checkpoints.exact import GRAM_ENTRIES, WHOLE_ENTRIES
from brittle.checkpoints.options import CheckpointOptions
from brittle.checkpoints.plan import Matrix
from brittle.checkpoints.reading import BLOCK_ENTRIES
from brittle.errors import UsageError

# The interpreter with its libraries, before any matrix is read.
PROCESS = 600 * 2**20
_FLOAT = 8
# Pages that the allocator keeps when a block is given back: 8 to 15 MB were seen beyond the arrays themselves.
_KEPT = 16 * 2**20
# Copies of a whole matrix, and of a Gram matrix, that lie in memory at once in a decomposition.
_WHOLE_COPIES, _GRAM_COPIES = 5, 4


def working_set(matrix: Matrix, options: CheckpointOptions) -> int:
    """Bytes for one matrix, beside the process itself, with what the allocator keeps.

    Its pages in the mapped file, and: held whole, five times its float64 size and four n x n; by blocks, four n x n and
    three blocks; estimated, three blocks and `probes` vectors for each of `steps + 8` of length n and 3 of length l.
    """
    rows, columns = matrix.sides
    n, long = min(rows, columns), max(rows, columns)
    entries = rows * columns
    mapped = entries * matrix.stored.bytes // max(1, _all_entries(matrix))
    if n > options.exact_side:
        vectors = options.probes * (n * (options.steps + 8) + 3 * long)
        return _KEPT + mapped + _FLOAT * (3 * max(BLOCK_ENTRIES, columns) + vectors + 2 * rows)
    held = _WHOLE_COPIES * entries if entries <= WHOLE_ENTRIES else 3 * max(GRAM_ENTRIES, n)
    return _KEPT + mapped + _FLOAT * (held + _GRAM_COPIES * n * n + 2 * long)


def memory_bound(matrices: Sequence[Matrix], options: CheckpointOptions) -> int:
    """Bytes for all processes together, each at its largest matrix."""
    largest = max((working_set(matrix, options) for matrix in matrices), default=0)
    processes = options.workers + (1 if options.workers > 1 else 0)
    return options.workers * largest + processes * PROCESS


def check_memory(matrices: Sequence[Matrix], options: CheckpointOptions) -> int:
    """The bound, in bytes, where it fits.

    Raises:
        UsageError: the machine has less memory free.
    """
    bound = memory_bound(matrices, options)
    free = free_memory()
    if free is not None and bound > free:
        largest = max(matrices, key=lambda matrix: working_set(matrix, options))
        remedy = "use fewer workers" if options.workers > 1 else "use a lower effort, or a machine with more memory"
        raise UsageError(
            f"{largest.name} of shape {largest.shape} with {options.workers} workers needs {bound / 2**30:.1f} GiB, "
            f"{free / 2**30:.1f} GiB are free: {remedy}"
        )
    return bound


def free_memory() -> int | None:
    """Bytes that can be taken without swapping, a container's limit included; None where the system does not say."""
    found = [free for free in (_available(), _left_in_container()) if free is not None]
    return min(found, default=None)


def _available(table: Path = Path("/proc/meminfo")) -> int | None:
    try:
        lines = table.read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        return None


def _left_in_container(folder: Path = Path("/sys/fs/cgroup")) -> int | None:
    try:
        most, used = ((folder / name).read_text(encoding="ascii").strip() for name in ("memory.max", "memory.current"))
        return int(most) - int(used)
    except (OSError, ValueError):  # no limit reads "max"
        return None


def _all_entries(matrix: Matrix) -> int:
    entries = 1
    for side in matrix.stored.shape:
        entries *= side
    return entries
