"""The record of a structure audit (schema "brittle.structure/1"): the matrices of a checkpoint, read from its files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from brittle.results.layer import Neuron, Status, Unmeasured

STRUCTURE_SCHEMA: Final = "brittle.structure/1"


@dataclass(frozen=True)
class Quantity:
    """A number with its status; `interval95` holds the truth with 95 % confidence, and is None where it is exact."""

    value: float
    status: Status
    interval95: tuple[float, float] | None = None


@dataclass(frozen=True)
class Spectrum:
    """The singular values sigma of a matrix: `epsilon` is the residual at the k largest, q = 1.

    `method` says whether all values were computed, or estimated by random probes. `beta`, `beta_mean` and
    `rank_at_5pct` are exact, and None where only estimates were made.
    """

    method: Literal["all values", "random probes"]
    k: int
    sigma_max: Quantity
    effective_rank: Quantity
    stable_rank: Quantity
    epsilon: Quantity
    pq_index: Quantity
    beta: float | None
    beta_mean: float | None
    rank_at_5pct: int | None


@dataclass(frozen=True)
class MatrixStructure:
    """One matrix: `shape` is neurons x fan-in, `tensor` the name in the file, `dtype` the number format there.

    `frobenius` and everything in `neuron` (of the rows' l_1 norms) is exact up to rounding. `same_as` are tensors of
    equal content (tied weights), measured once. `notes` limit what the numbers mean.
    """

    name: str
    tensor: str
    file: str
    dtype: str
    shape: tuple[int, int]
    parameters: int
    frobenius: float
    neuron: Neuron
    spectral: Spectrum
    same_as: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class CheckpointInfo:
    """What was read: `parameters` counts the entries of all `tensors`, measured or not."""

    name: str
    files: int
    bytes: int
    tensors: int
    parameters: int


@dataclass(frozen=True)
class MatrixChange:
    """One matrix of the base and of this checkpoint.

    `log_scale` is the change of ln ||W||_F, exact; `log_structure` that of ln(||W||_2 / ||W||_F): they add up to that
    of ln ||W||_2. `effective_rank_share` (of the short side) and `epsilon` are child minus base. `shape_base` differs
    from `shape` where the matrix was made smaller. Logs are None where a matrix is zero.
    """

    name: str
    shape_base: tuple[int, int]
    shape: tuple[int, int]
    log_scale: float | None
    log_structure: Quantity | None
    effective_rank_share: Quantity
    epsilon: Quantity


@dataclass(frozen=True)
class StructureComparison:
    """What changed from the base, largest change first; `unmatched` are names that one of the two lacks."""

    base: CheckpointInfo
    changes: tuple[MatrixChange, ...]
    unmatched: tuple[str, ...]
    caution: str


@dataclass(frozen=True)
class StructureSettings:
    """How it was measured: up to the short side `exact_side` all singular values, beyond it `probes` x `steps`.

    `memory_bound` is the working memory in bytes that was checked before the work, mapped pages included.
    """

    command: str
    k_fraction: float
    exact_side: int
    probes: int
    steps: int
    workers: int
    torch: str
    memory_bound: int
    seconds: float


@dataclass(frozen=True)
class StructureAudit:
    """The structure of a checkpoint. Nothing ran and nothing was attacked: it holds no statement on robustness."""

    schema: Literal["brittle.structure/1"]
    brittle: str
    seed: int
    checkpoint: CheckpointInfo
    matrices: tuple[MatrixStructure, ...]
    unmeasured: tuple[Unmeasured, ...]
    settings: StructureSettings
    comparison: StructureComparison | None = None
    partial: bool = False

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready dictionary, as `brittle audit --json` writes it."""
        from brittle.results.serialise import to_dict

        return to_dict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> StructureAudit:
        """The audit that `to_dict` turned into `values`; DataError if it is none."""
        from brittle.results.serialise import from_dict

        return from_dict(cls, values)
