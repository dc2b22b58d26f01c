"""The demo's four networks: an original, and three of a fifth of its size, all trained and fine-tuned alike.

Lengths and learning rate were chosen on the validation split with seeds 10 to 21; the demo's own seeds start at 0.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from brittle.compression.factorise import factorise
from brittle.compression.prune import prune_neurons
from brittle.data.dataset import Dataset
from brittle.evaluation.progress import Progress
from brittle.models.recipe import Recipe, build, recipe_of
from brittle.training.loop import Budget, fit

WIDTH, RANK = 100, 6
TRAINING = Budget(epochs=60)
FINE_TUNING = Budget(epochs=60)
METHODS = {
    "original": f"64-{WIDTH}-{WIDTH}-10, trained from scratch",
    "low-rank": f"both hidden layers cut to rank {RANK} (truncated SVD), fine-tuned",
    "neuron-pruned": "the strongest neurons of both hidden layers kept, fine-tuned",
    "narrow": "the pruned net's shape trained from scratch, fine-tuned",
}


@dataclass(frozen=True)
class DemoNets:
    """The networks of one seed by name, in the order of `METHODS`."""

    seed: int
    nets: dict[str, nn.Module]


def train_nets(data: Dataset, seed: int, progress: Progress | None) -> DemoNets:
    """Train the original and make its three children; the test split is not read."""
    train, validation = data.split("train"), data.split("validation")

    def tuned(name: str, model: nn.Module, budget: Budget) -> nn.Module:
        told = None if progress is None else (lambda stage, done, total: progress(f"{stage} {name}", done, total))
        return fit(model, train, validation, budget, seed=seed, progress=told)

    recipe = Recipe("mlp", data.input_shape, len(data.classes), {"width": WIDTH, "depth": 2})
    original = tuned("original", build(recipe, seed=seed), TRAINING)
    low = factorise(original, {"fc1": RANK, "fc2": RANK})
    width = _equal_width(_parameters(low), data.input_shape, len(data.classes))
    pruned = prune_neurons(original, (width, width))
    shape = recipe_of(pruned)
    assert shape is not None
    narrow = tuned("narrow", build(shape, seed=seed), TRAINING)
    children = {"low-rank": low, "neuron-pruned": pruned, "narrow": narrow}
    return DemoNets(seed, {"original": original, **{k: tuned(k, net, FINE_TUNING) for k, net in children.items()}})


def _parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def _equal_width(parameters: int, input_shape: tuple[int, ...], classes: int) -> int:
    """The width whose dense net has the parameter count (with biases) nearest to `parameters`."""
    candidates = range(4, WIDTH)
    sizes = {w: _parameters(build(Recipe("mlp", input_shape, classes, {"width": w, "depth": 2}))) for w in candidates}
    return min(candidates, key=lambda w: abs(sizes[w] - parameters))
