"""A family of digits nets that differ in structure, or in scale alone; trained once and kept in benchmarks/.nets.

    OMP_NUM_THREADS=1 python -m benchmarks.family [SEED ...]        (prints what each net is)

All are 64-100-100-10 ReLU nets trained from scratch on the same samples in the same order. "dense" and "rank r" are
free in scale; "nuclear s" and "frobenius xc" hold each hidden layer's Frobenius norm, after every step, at the dense
net's (times c). The answer is the last epoch's net: choosing the best one would undo part of the penalty.
Strengths were chosen on the validation split; the test split played no part.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from hashlib import blake2b

import torch
import torch.nn.functional as F
from benchmarks.nets import KEPT
from torch import Tensor, nn

from brittle.compressibility.rank import effective_rank, singular_values
from brittle.data.load import load_data
from brittle.data.split import Split
from brittle.models.file import load, save
from brittle.models.layers import LowRankLinear
from brittle.models.recipe import Recipe, build

WIDTH, DEPTH = 100, 2
HIDDEN = ("fc1", "fc2")
EPOCHS, BATCH, RATE, DECAY = 60, 64, 2e-3, 1e-4


@dataclass(frozen=True)
class Member:
    """One net of the family: `rank` of the hidden layers (0: dense), `nuclear` strength, `scale` (None: free)."""

    rank: int = 0
    nuclear: float = 0.0
    scale: float | None = None


FAMILY = {
    "dense": Member(),
    "rank 64": Member(rank=64),
    "rank 16": Member(rank=16),
    "rank 6": Member(rank=6),
    "nuclear 0.01": Member(nuclear=0.01, scale=1.0),
    "nuclear 0.1": Member(nuclear=0.1, scale=1.0),
    "nuclear 0.3": Member(nuclear=0.3, scale=1.0),
    "frobenius x0.5": Member(scale=0.5),
    "frobenius x1": Member(scale=1.0),
    "frobenius x2": Member(scale=2.0),
}


def digits_family(seed: int) -> dict[str, nn.Module]:
    """Every net of `FAMILY` for one training seed, in evaluation mode; about 2 CPU s a net where none is kept."""
    train = load_data("digits").split("train")
    nets: dict[str, nn.Module] = {}
    for name, member in FAMILY.items():
        settings = blake2b(repr((member, EPOCHS, BATCH, RATE, DECAY)).encode(), digest_size=4).hexdigest()
        file = KEPT / f"family-{name.replace(' ', '-')}-{seed}-{settings}.safetensors"
        if file.exists():
            nets[name] = load(file)
            continue
        nets[name] = _train(member, seed, train, nets)
        KEPT.mkdir(exist_ok=True)
        save(nets[name], file)
    return nets


def hidden_weight(model: nn.Module, name: str) -> Tensor:
    """The matrix of a hidden layer (h, d), the product of its factors where it has two."""
    layer = model.get_submodule(name)
    if isinstance(layer, LowRankLinear):
        return layer.second.weight @ layer.first.weight
    assert isinstance(layer, nn.Linear)
    return layer.weight


def hidden_effective_rank(model: nn.Module) -> float:
    """Mean effective rank of the hidden layers (Roy & Vetterli 2007)."""
    return sum(effective_rank(singular_values(hidden_weight(model, name))) for name in HIDDEN) / len(HIDDEN)


def _train(member: Member, seed: int, train: Split, nets: dict[str, nn.Module]) -> nn.Module:
    options = {"width": WIDTH, "depth": DEPTH, "ranks": [member.rank] * DEPTH + [0]}
    model = build(Recipe("mlp", (1, 8, 8), 10, options), seed=seed).train()
    norms: dict[str, float] = {}
    if member.scale is not None:
        norms = {name: member.scale * float(hidden_weight(nets["dense"], name).detach().norm()) for name in HIDDEN}
    _hold(model, norms)
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, EPOCHS * (len(train) // BATCH))
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(train), generator=generator)[: len(train) // BATCH * BATCH].split(BATCH):
            loss = F.cross_entropy(model(train.x[chosen]), train.y[chosen])
            if member.nuclear:
                loss = loss + member.nuclear * sum(_concentration(hidden_weight(model, name)) for name in HIDDEN)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            _hold(model, norms)
    return model.eval()


def _concentration(weight: Tensor) -> Tensor:
    """`||W||_* / ||W||_F`, from 1 (rank one) to sqrt(rank): blind to scale."""
    return torch.linalg.matrix_norm(weight, "nuc") / weight.norm()


def _hold(model: nn.Module, norms: dict[str, float]) -> None:
    with torch.no_grad():
        for name, norm in norms.items():
            weight = hidden_weight(model, name)
            weight.mul_(norm / weight.norm())


def main(arguments: list[str]) -> None:
    parts = {part: load_data("digits").split(part) for part in ("train", "validation")}
    print("net, seed: accuracy on train, validation; Frobenius norms; effective ranks")
    for seed in [int(word) for word in arguments] or [0]:
        started = time.process_time()
        for name, model in digits_family(seed).items():
            with torch.no_grad():
                right = [float((model(p.x).argmax(1) == p.y).float().mean()) for p in parts.values()]
            weights = [hidden_weight(model, layer).detach() for layer in HIDDEN]
            ranks = [effective_rank(singular_values(w)) for w in weights]
            print(
                f"{name:15} {seed}: {right[0]:.3f} {right[1]:.3f};",
                " ".join(f"{float(w.norm()):.2f}" for w in weights) + ";",
                " ".join(f"{r:.1f}" for r in ranks),
                flush=True,
            )
        print(f"{time.process_time() - started:.0f} CPU s")


if __name__ == "__main__":
    main(sys.argv[1:])
