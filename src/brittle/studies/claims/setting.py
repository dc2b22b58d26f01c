"""A setting: a task and an architecture, the radii that suit them, and how strong each source is made there."""

from __future__ import annotations

from dataclasses import dataclass

from brittle.studies.trial import Threat, Training, Trial


@dataclass(frozen=True)
class Strengths:
    """The levels of each source, from mild to strong; an empty tuple leaves the source out.

    Attributes:
        group_lasso: strengths of the penalty on rows.
        nuclear: strengths of the penalty on singular values.
        ranks: of the hidden layers, falling.
        widths: factors of the hidden widths, falling.
        keeps: shares of the parameters that stay after compression, falling.
        rates: learning rates, rising.
        decays: weight decays, rising.
        planted: concentrations, rising from 0.
        scales: multiples of the dense network's Frobenius norms, rising from 1.
    """

    group_lasso: tuple[float, ...] = ()
    nuclear: tuple[float, ...] = ()
    ranks: tuple[int, ...] = ()
    widths: tuple[float, ...] = ()
    keeps: tuple[float, ...] = ()
    rates: tuple[float, ...] = ()
    decays: tuple[float, ...] = ()
    planted: tuple[float, ...] = ()
    scales: tuple[float, ...] = ()


@dataclass(frozen=True)
class Adversarial:
    """Adversarial training: the run, and strengths that networks can still be trained with."""

    training: Training
    held: Strengths


@dataclass(frozen=True)
class Transfer:
    """Two tasks: encoders are made on the first, and measured on the second with a new head.

    Attributes:
        source: DATA to train on.
        target: DATA to transfer to.
        linf: the l_inf ball there.
        l2: the l_2 ball there.
        held: strengths of the sources.
    """

    source: str
    target: str
    linf: Threat
    l2: Threat
    held: Strengths


@dataclass(frozen=True)
class Setting:
    """One task and architecture of a preset.

    Attributes:
        name: for people, such as "digits MLP".
        base: the dense trial of any seed; threats and measures are set by the claims.
        seeds: of training.
        linf: the l_inf ball of robust accuracies.
        l2: the l_2 ball.
        wide: the l_inf ball of universal perturbations, which need more room than single ones.
        held: strengths of the sources with the scale held.
        free: with the scale free, where a penalty also shrinks the norms and less of it does more.
        adversarial: the run of adversarial training, None to leave it out; with strengths of its own.
        bounded: whether the network has a bound in parts, as chains of layers have; claims about it need one.
        known: strengths on a made task whose most accurate network is known; it is a control only, and `held` and
            `free` are empty there.
        transfer: the tasks of transfer, None to leave it out; with strengths of its own.
    """

    name: str
    base: Trial
    seeds: tuple[int, ...]
    linf: Threat
    l2: Threat
    wide: Threat
    held: Strengths
    free: Strengths
    adversarial: Adversarial | None = None
    transfer: Transfer | None = None
    bounded: bool = True
    known: Strengths = Strengths()

    def dense(self, *, hold_scale: bool) -> Trial:
        """The trial that every ladder starts from."""
        return self.base.model_copy(update={"hold_scale": hold_scale})

    def strengths(self, *, hold_scale: bool) -> Strengths:
        """Those with the scale held, or free."""
        return self.held if hold_scale else self.free
