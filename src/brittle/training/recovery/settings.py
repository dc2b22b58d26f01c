"""How a compressed net is trained to recover, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from brittle.errors import UsageError
from brittle.threats import Ball
from brittle.training.adversarial.inner import check_share, check_step, check_steps, check_threat
from brittle.training.adversarial.trades import check_beta
from brittle.training.distillation import check_soft
from brittle.training.held import Conditioned, Zeros
from brittle.training.judge import CleanJudge, RobustJudge
from brittle.training.penalties import penalty_named
from brittle.training.plan import Dynamics, Plan, Weighted
from brittle.training.protocols import Hold, Judge, Objective
from brittle.training.recovery.budget import Spending, check_budget
from brittle.training.recovery.kinds import check_kind

# The steps of an attack go 2.5 epsilon together (Madry et al. 2018), a single one no further than Wong et al. 2020.
_REACH, _SINGLE = 2.5, 1.25


@dataclass(frozen=True)
class Recovery:
    """A fine-tuning with a budget.

    Attributes:
        kind: a name in `RECOVERIES`: "plain", "adversarial", "trades" or "distil".
        budget: gradient evaluations for each training image, those of attacks included, see `spending`. Forward passes
            alone (a teacher's, the validation split's) are not counted, nor is the short attack that judges an epoch.
        threat: the l_inf or l_2 ball of the attack, pixel units. "adversarial" and "trades" need one, "distil" is plain
            distillation without it, "plain" knows none.
        steps: of the attack.
        step_size: of each, as a multiple of epsilon; None: 2.5 / steps, at most 1.25.
        share: of each batch that is attacked ("adversarial", "distil").
        beta: weight of the second term of "trades".
        temperature: of "distil".
        labels: weight of the labels in "distil", in [0, 1].
        learning_rate: its peak; None: chosen on the validation split by short trials, see `rates.choose_rate`.
        batch_size: samples of a step.
        optimiser: a name in `OPTIMISERS`.
        weight_decay: decoupled where the optimiser knows how.
        schedule: a name in `SCHEDULES`, over the steps that the budget pays for.
        patience: epochs without progress on the validation split after which it stops; None: never. A schedule that
            falls to zero is at its best in the end.
        penalties: names in `PENALTIES` with their strengths, added to the loss.
        layers: patterns of layer names that penalties and the held scale act on; None: all but the head and the first
            convolution.
        hold_scale: those layers keep the Frobenius norm they come with.
        hold_zeros: weights that are zero stay zero: for nets with single weights pruned.
        tau: bound on the condition number of low-rank layers, held after every step (CondLR); None: none.
        judged: the ball in which rates and epochs are judged, where it is not the threat's; see `judge`.

    Raises:
        UsageError: a number out of its range, an unknown kind, penalty, optimiser or schedule, a threat that the kind
            needs and has not, or has and does not know.
    """

    kind: str
    budget: float
    threat: Ball | None = None
    steps: int = 5
    step_size: float | None = None
    share: float = 1.0
    beta: float = 6.0
    temperature: float = 1.0
    labels: float = 0.0
    learning_rate: float | None = None
    batch_size: int = 128
    optimiser: str = "adamw"
    weight_decay: float = 1e-4
    schedule: str = "one-cycle"
    patience: int | None = None
    penalties: Mapping[str, float] = field(default_factory=dict)
    layers: tuple[str, ...] | None = None
    hold_scale: bool = False
    hold_zeros: bool = False
    tau: float | None = None
    judged: Ball | None = None

    def __post_init__(self) -> None:
        check_kind(self.kind, self.threat)
        check_budget(self.budget)
        check_share(self.share)
        check_beta(self.beta)
        check_soft(self.temperature, self.labels)
        if self.threat is not None:
            check_threat(self.threat)
        check_steps(self.steps)
        check_step(self.stride)
        self._dynamics(1.0 if self.learning_rate is None else self.learning_rate, 1, 1)
        for name, strength in self.penalties.items():
            penalty_named(name)
            if not 0 <= strength < float("inf"):
                raise UsageError(f"penalty {name}: the strength must be >= 0, got {strength!r}")
        if self.tau is not None:
            Conditioned(self.tau)
        if self.layers is not None and not (self.penalties or self.hold_scale):
            raise UsageError(
                "layers say what penalties and the held scale act on: give one of them, or leave layers out"
            )
        if self.judged is not None:
            check_threat(self.judged)

    @property
    def stride(self) -> float:
        """The step size of the attack, as a multiple of epsilon."""
        return min(_SINGLE, _REACH / self.steps) if self.step_size is None else self.step_size

    @property
    def judge(self) -> Judge:
        """What rates and epochs are judged by.

        With a threat the accuracy under attack, ties to clean accuracy. A net that is not trained against the ball that
        it is `judged` in loses robustness with every epoch while it gains clean accuracy: the mean of the two. Without
        any ball the clean accuracy, ties to the loss.
        """
        if self.threat is not None:
            return RobustJudge(self.threat if self.judged is None else self.judged)
        return CleanJudge() if self.judged is None else RobustJudge(self.judged, clean=0.5)

    def plan(self, objective: Objective, learning_rate: float, length: Spending) -> Plan:
        """The same for the engine, at this learning rate and length."""
        holds: list[Hold] = [Zeros()] if self.hold_zeros else []
        if self.tau is not None:
            holds.append(Conditioned(self.tau))
        return Plan(
            dynamics=self._dynamics(learning_rate, length.epochs, length.steps),
            objective=objective,
            penalties=tuple(Weighted(name, strength) for name, strength in self.penalties.items()),
            layers=self.layers,
            hold_scale=self.hold_scale,
            holds=tuple(holds),
            judge=self.judge,
        )

    def _dynamics(self, learning_rate: float, epochs: int, steps: int) -> Dynamics:
        return Dynamics(
            epochs=epochs,
            batch_size=self.batch_size,
            optimiser=self.optimiser,
            learning_rate=learning_rate,
            weight_decay=self.weight_decay,
            schedule=self.schedule,
            patience=self.patience,
            steps=steps,
        )
