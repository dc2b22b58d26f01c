"""Sensitivities: each candidate alone, never better for smaller, measured once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import nn

from brittle.compression.carry_out import carry_out_with
from brittle.compression.plan import CompressionPlan
from brittle.compression.planning import sensitivity
from brittle.compression.planning.explained import explained
from brittle.compression.planning.knobs import Knob, knobs
from brittle.compression.planning.measure import Bench, Standing, bench
from brittle.compression.planning.mends import Refitted
from brittle.compression.planning.sensitivity import Alone, Cache, Sensitivity, sensitivities
from brittle.evaluation.checkpoint import Memory
from brittle.threats import LinfBall
from tests.compression.planned_nets import cnn, cnn_couplings, evidence

EVIDENCE = evidence(120, threat=LinfBall(0.05))
SCORES = explained(cnn(), cnn_couplings(), EVIDENCE)
LADDERS = knobs(cnn(), cnn_couplings(), 0.3)
BOARD = bench(cnn(), EVIDENCE, batch_size=120, steps=1)


def found(cache: Cache, told: list[tuple[str, int, int]] | None = None) -> Sensitivity:
    return sensitivities(
        cnn(),
        cnn_couplings(),
        SCORES,
        LADDERS,
        BOARD,
        EVIDENCE.x,
        cache,
        seed=0,
        progress=None if told is None else lambda *args: told.append(args),
    )


def test_every_candidate_is_measured_and_told_of() -> None:
    told: list[tuple[str, int, int]] = []
    all_found = found(Cache(), told)
    total = len(LADDERS.candidates())
    assert told == [("sensitivities", i + 1, total) for i in range(total)]
    assert all_found.base == BOARD.measure(cnn())
    for knob in LADDERS.all():
        assert set(all_found.standings[knob]) == {knob.sizes[i] for i in knob.measured[1:]}
        assert all_found.standings[knob][knob.sizes[-1]].clean_loss > all_found.base.clean_loss


@pytest.mark.parametrize("plan", [CompressionPlan(units={"conv2": 6}), CompressionPlan(ranks={"fc1": 4})])
def test_alone_a_change_is_mended_as_in_the_whole_network(plan: CompressionPlan) -> None:
    """From the parent's moments the first changed layer comes out as when it is fitted to the child's own inputs."""
    x, layer = EVIDENCE.x, "fc1"
    children = [
        carry_out_with(cnn(), plan, mend, cnn_couplings(), SCORES, x, seed=0)
        for mend in (Alone(cnn(), x, 0), Refitted())
    ]
    inner = [child.get_submodule(layer) for child in children]
    answers = []
    for child, part in zip(children, inner, strict=True):
        met: list[torch.Tensor] = []
        handle = part.register_forward_hook(lambda _, args, out, met=met: met.append(out))
        with torch.no_grad():
            child(x)
        handle.remove()
        answers.append(met[0])
    assert torch.allclose(*answers, atol=1e-4)
    assert torch.equal(children[0].head.weight, cnn().head.weight), "layers with unchanged inputs are left alone"


def test_a_cache_answers_without_measuring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory(tmp_path, "here")
    cache = Cache(memory)
    first = found(cache)

    def refuse(self: Bench, model: nn.Module) -> Standing:
        raise AssertionError("measured again")

    monkeypatch.setattr(Bench, "measure", refuse)
    assert found(cache) == first
    assert found(Cache(memory)) == first, "another process finds them in the folder"
    with pytest.raises(AssertionError, match="measured again"):
        found(Cache(Memory(tmp_path, "elsewhere")))


def test_settings_are_kept_apart_within_one_cache(tmp_path: Path) -> None:
    cache = Cache(Memory(tmp_path, "here"))
    one, other = (Standing(loss, 0.5, loss, 0.5) for loss in (1.0, 2.0))
    assert cache.within("a").get("base", lambda: one) == one
    assert cache.within("b").get("base", lambda: other) == other
    assert cache.within("a").get("base", lambda: other) == one
    assert Cache(Memory(tmp_path, "here")).within("b").get("base", lambda: one) == other


def test_added_losses_never_fall_and_pass_through_the_measured_ones() -> None:
    knob = Knob("ranks", "a", (100, 50, 20, 10), (0, 2, 3))

    def standing(loss: float) -> Standing:
        return Standing(loss, 0.0, loss, 0.0)

    def added(standings: Mapping[int, Standing]) -> tuple[float, ...]:
        return Sensitivity(standing(1.0), {knob: standings}).added(knob, lambda s: s.clean_loss)

    rising = added({20: standing(1.5), 10: standing(3.0)})
    assert (rising[0], rising[2], rising[3]) == (0.0, 0.5, 2.0)
    assert 0 < rising[1] < 0.5
    assert added({20: standing(0.7), 10: standing(0.9)}) == (0, 0, 0, 0), "a gain is taken for noise"
    assert added({20: standing(1.4), 10: standing(1.2)})[2:] == pytest.approx((0.4, 0.4))


def test_moments_are_taken_once_for_each_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    original = sensitivity.paired_moments

    def counted(child: nn.Module, parent: nn.Module, name: str, x: torch.Tensor, **more: object) -> object:
        taken.append(name)
        return original(child, parent, name, x, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(sensitivity, "paired_moments", counted)
    found(Cache())
    assert sorted(taken) == ["conv1", "conv2", "fc1", "head"]
