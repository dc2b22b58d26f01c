"""Draws docs/images/waterfall.svg: what cutting the demo's MLP to rank 6 does to the encoder's constant.

OMP_NUM_THREADS=1 python docs/make_waterfall.py
"""

from __future__ import annotations

from pathlib import Path

from brittle.bounds.encoder import encoder_bounds
from brittle.bounds.encoder_change import encoder_change
from brittle.compression.factorise import factorise
from brittle.data.load import load_data
from brittle.models.recipe import Recipe, build
from brittle.operators.network import read_network
from brittle.report.waterfall import waterfall_svg
from brittle.training.loop import Budget, fit

RANK, NORM, SEED = 6, "l2", 0


def main() -> None:
    """Train both nets and write the picture."""
    data = load_data("digits")
    train, validation = data.split("train"), data.split("validation")
    base = build(Recipe("mlp", data.input_shape, len(data.classes), {"width": 100, "depth": 2}), seed=SEED)
    fit(base, train, validation, Budget(epochs=60), seed=SEED)
    child = factorise(base, {"fc1": RANK, "fc2": RANK})
    fit(child, train, validation, Budget(epochs=60), seed=SEED)
    bounds = []
    for model in (base, child):
        graph = read_network(model, data.input_shape).graph
        assert graph is not None
        bounds.append(encoder_bounds(graph, NORM)[0])
    picture = waterfall_svg(encoder_change(*bounds), f"Digits MLP 64-100-100-10, hidden layers cut to rank {RANK}")
    target = Path(__file__).parent / "images" / "waterfall.svg"
    target.parent.mkdir(exist_ok=True)
    target.write_text(picture + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
