"""What to watch while a net is trained: accuracies under attack, structure, operator norms, the product bound."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite

from torch import nn

from brittle.attacks.pgd import PGD
from brittle.attacks.protocol import Attack
from brittle.bounds.product import node_norms, product_constants
from brittle.compressibility.layer import layer_structure
from brittle.data.split import Split
from brittle.errors import UsageError
from brittle.evaluation.accuracy import attack_survivors, clean_right
from brittle.evaluation.intervals import wilson
from brittle.operators.network import Network, read_network
from brittle.operators.norms import OPERATOR_NORMS
from brittle.results.layer import LayerStructure
from brittle.results.training import Tracked, TrackedAccuracy, TrackedLayer
from brittle.threats import Ball

_BEYOND = "the product of norms is beyond what float64 can hold"


@dataclass(frozen=True)
class Tracker:
    """Looks at a model on a fixed random part of the validation split, and at its weights.

    Attributes:
        threats: balls to attack in; none for clean accuracy alone.
        every: epochs between two looks.
        samples: of the validation split, the same ones each time.
        attack: run in each ball.
        k_fraction: k of the residuals, as a share of a layer's neurons or singular values.
        batch_size: the most samples the model sees at once.

    Raises:
        UsageError: a number out of its range.
    """

    threats: tuple[Ball, ...] = ()
    every: int = 1
    samples: int = 200
    attack: Attack = field(default_factory=lambda: PGD(steps=10))
    k_fraction: float = 0.1
    batch_size: int = 200

    def __post_init__(self) -> None:
        if self.every < 1 or self.samples < 1 or self.batch_size < 1:
            raise UsageError(
                "a tracker needs every, samples and batch_size >= 1, got "
                f"{self.every}, {self.samples} and {self.batch_size}"
            )
        if not 0 < self.k_fraction <= 1:
            raise UsageError(f"k must be a fraction in (0, 1] of a layer's neurons, got {self.k_fraction!r}")

    def __call__(self, model: nn.Module, validation: Split, *, seed: int) -> Tracked:
        """What the model is like now; it is left as it was."""
        part = validation.take(self.samples, seed)
        like = next(model.parameters())
        here = Split(part.x.to(like), part.y.to(like.device))
        right, _ = clean_right(model, here.x, here.y, self.batch_size)
        network = read_network(model, tuple(here.x.shape[1:]))
        layers = {
            layer.name: layer_structure(
                layer.name,
                layer.view,
                k_fraction=self.k_fraction,
                on_input=layer.on_input,
                parameters=layer.parameters,
            )
            for layer in network.layers
        }
        products = {norm: _product(network, norm, layers) for norm in OPERATOR_NORMS}
        beyond = _BEYOND if network.graph is not None and None in products.values() else ""
        return Tracked(
            n=len(here),
            clean=float(right.double().mean()),
            attacked=tuple(self._attacked(model, here, threat, seed) for threat in self.threats),
            k_fraction=self.k_fraction,
            layers=tuple(_row(layer) for layer in layers.values()),
            products=products,
            why=network.why or beyond,
        )

    def _attacked(self, model: nn.Module, part: Split, threat: Ball, seed: int) -> TrackedAccuracy:
        after = attack_survivors(model, part.x, part.y, threat, (self.attack,), batch_size=self.batch_size, seed=seed)
        return TrackedAccuracy(
            norm=threat.norm,
            epsilon=threat.epsilon,
            attack=self.attack.name,
            accuracy=after.accuracy,
            interval95=wilson(int(after.survived.sum()), len(part)),
        )


def _row(layer: LayerStructure) -> TrackedLayer:
    return TrackedLayer(
        name=layer.name,
        shape=layer.shape,
        frobenius=layer.frobenius,
        neuron_epsilon=layer.neuron.epsilon,
        spectral_epsilon=layer.spectral.epsilon,
        effective_rank=layer.spectral.effective_rank,
        stable_rank=layer.spectral.stable_rank,
        norms=layer.norms,
        on_input=layer.on_input,
    )


def _product(network: Network, norm: str, layers: Mapping[str, LayerStructure]) -> float | None:
    """The product bound, from the layers' norms where they are known already."""
    if network.graph is None:
        return None
    known = {name: layer.norms[norm] for name, layer in layers.items() if layer.on_input}
    value = product_constants(network.graph, norm, node_norms(network.graph, norm, known))[-1]
    return value if isfinite(value) else None
