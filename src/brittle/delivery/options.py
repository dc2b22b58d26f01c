"""What a compression is asked for, checked before any work starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite

from brittle.auditing.options import AuditOptions
from brittle.errors import UsageError
from brittle.results.compression import Asked
from brittle.threats import Ball, ball
from brittle.training.recovery import RECOVERIES

# Gradient evaluations for each training image, where the user does not say.
DEFAULT_FINETUNE = 10.0
# Tolerance of the audit's verdict in percentage points, where no gate is asked for.
DEFAULT_MAX_DROP = 2.0
# What stands beside the chosen method in a sweep.
RIVALS = ("l2-global", "svd")


@dataclass(frozen=True)
class CompressOptions:
    """Options of a compression.

    Attributes:
        keep: share of the parameters that stay, in (0, 1].
        method: a name in `brittle.compression.methods.METHODS`.
        robust: choose what stays by the accuracy under attack, not by the clean one.
        norm: of the threats, "linf" or "l2".
        epsilon: radii that are measured, pixel units; the first one is what robust choices and adversarial recovery
            defend against. Empty: the audit's, by the number of channels.
        finetune: budget of the recovery in gradient evaluations for each training image, 0 for none.
        recover: a name in `RECOVERIES`; None: "adversarial" where `robust`, else "plain".
        penalties: names in `PENALTIES` with strengths, added to the recovery's loss.
        flatten: in [0, 1], how far the kept singular values are brought to one level; None: not at all.
        orthonormal: the largest condition number of low-rank factors, held during recovery; None: any.
        sweep: further shares, for the picture of size against accuracy with rival methods on it.
        max_drop: the gate, percentage points lost, clean or robust; None: no gate.
        samples: test samples that everything is scored on, None for all.
        evidence: training samples that choices are made from.
        effort: of the attacks, "quick", "standard" or "thorough".
        batch_size: the most inputs the model sees at once when measured.
        time_limit: seconds after which no further stage starts; what is missing is marked.
        seed, device: of every random choice; where the model runs.

    Raises:
        UsageError: a value out of its range, or options that contradict each other; the message names them.
    """

    keep: float
    method: str = "auto"
    robust: bool = False
    norm: str = "linf"
    epsilon: tuple[float, ...] = ()
    finetune: float = DEFAULT_FINETUNE
    recover: str | None = None
    penalties: Mapping[str, float] = field(default_factory=dict)
    flatten: float | None = None
    orthonormal: float | None = None
    sweep: tuple[float, ...] = ()
    max_drop: float | None = None
    samples: int | None = 1000
    evidence: int = 1000
    effort: str = "quick"
    batch_size: int = 256
    time_limit: float | None = None
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        _check_keep("keep", self.keep)
        for share in self.sweep:
            _check_keep("sweep", share)
        if len({f"{share:g}" for share in self.sweep}) < len(self.sweep):
            raise UsageError(f"sweep names a share twice: {', '.join(f'{s:g}' for s in self.sweep)}; give each once")
        if not (isfinite(self.finetune) and self.finetune >= 0):
            raise UsageError(
                f"finetune is a number of gradient evaluations for each training image, got {self.finetune!r}: "
                f"{DEFAULT_FINETUNE:g} is usual, 0 is for none"
            )
        if self.finetune == 0:
            self._check_no_recovery()
        if self.flatten is not None and not 0 <= self.flatten <= 1:
            raise UsageError(f"flatten is a strength in [0, 1], got {self.flatten!r}: 1 makes kept values equal")
        if self.orthonormal is not None and not (isfinite(self.orthonormal) and self.orthonormal >= 1):
            raise UsageError(
                f"orthonormal is the largest condition number of the factors, at least 1, got {self.orthonormal!r}"
            )
        if self.evidence < 1:
            raise UsageError(f"choices need at least 1 training sample as evidence, got {self.evidence}")
        self.audit()

    def _check_no_recovery(self) -> None:
        for option, given in (("a kind of recovery needs", self.recover), ("penalties need", self.penalties)):
            if given:
                raise UsageError(f"{option} a budget, and finetune 0 is for none: leave one of them out")

    def audit(self) -> AuditOptions:
        """The options of the audits that parent and child get: no directions, the same samples, attacks and seed."""
        return AuditOptions(
            norms=(self.norm,),
            epsilon={self.norm: self.epsilon} if self.epsilon else None,
            samples=self.samples,
            effort=self.effort,
            directions=0,
            batch_size=self.batch_size,
            seed=self.seed,
            device=self.device,
            time_limit=self.time_limit,
            max_drop=DEFAULT_MAX_DROP if self.max_drop is None else self.max_drop,
        )

    def threats(self, input_shape: tuple[int, ...]) -> tuple[Ball, ...]:
        """The balls that are measured, radii ascending, for inputs of that shape."""
        return self.audit().threats(input_shape)

    def defended(self, input_shape: tuple[int, ...]) -> Ball | None:
        """What choices and recovery defend against: the ball of the first radius; None where nothing is robust."""
        kind = RECOVERIES.get(self.recovery or "")
        if not (self.robust or (kind is not None and kind.threat == "needed")):
            return None
        return ball(self.norm, self.epsilon[0]) if self.epsilon else self.threats(input_shape)[0]

    @property
    def recovery(self) -> str | None:
        """The kind of recovery, None without one."""
        if self.finetune == 0:
            return None
        return self.recover or ("adversarial" if self.robust else "plain")

    def asked(self, input_shape: tuple[int, ...]) -> Asked:
        """The same for the record."""
        defended = self.defended(input_shape)
        return Asked(
            method=self.method,
            keep=self.keep,
            robust=self.robust,
            norm=self.norm,
            epsilon=tuple(threat.epsilon for threat in self.threats(input_shape)),
            defended=None if defended is None else defended.epsilon,
            finetune=self.finetune,
            recover=self.recovery,
            penalties=dict(self.penalties),
            flatten=self.flatten,
            orthonormal=self.orthonormal,
            sweep=self.sweep,
        )


def _check_keep(option: str, share: float) -> None:
    if not 0 < share <= 1:
        raise UsageError(
            f"{option} is the share of the parameters that stay, above 0 and at most 1, got {share!r}: 0.25 is a fourth"
        )
