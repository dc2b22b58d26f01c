"""Measures against closed forms and direct calls."""

from __future__ import annotations

from math import exp, log

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from brittle.attacks.apgd import APGD, WorstCase
from brittle.attacks.pgd import PGD
from brittle.data.split import Split
from brittle.errors import UsageError
from brittle.evaluation.accuracy import attack_survivors, clean_right
from brittle.evaluation.fooling import perturbed_predictions
from brittle.studies.making import make
from brittle.studies.measures.accuracy import clean, robust
from brittle.studies.measures.attacks import alignment, amplification, gap
from brittle.studies.measures.bound import bound
from brittle.studies.measures.known import known
from brittle.studies.measures.scene import Scene
from brittle.studies.measures.structure import structure
from brittle.studies.measures.table import MEASURES, check_measures
from brittle.studies.measures.transferred import transferred
from brittle.studies.measures.universal import universal
from brittle.studies.synthetic import known_of
from brittle.studies.tasks import Learning, Task, task_of
from brittle.studies.trial import Threat, Training, Trial
from brittle.threats import ball

TRIAL = Trial(
    test=120,
    train=300,
    model="zoo:mlp?width=30&depth=2",
    training=Training(epochs=8, batch_size=32, learning_rate=0.01),
    transfer="classes:0-4:digits",
)


@pytest.fixture(scope="module")
def scene() -> Scene:
    task = task_of("digits", 300, 120, 0)
    return Scene(make(TRIAL, task.learning), task, TRIAL, lambda data: task_of(data, 300, 120, 0))


def linear_scene(net: nn.Module, d: int, threat: Threat) -> Scene:
    """Pixels far from the walls, so that attacks on affine networks have closed forms."""
    generator = torch.Generator().manual_seed(0)
    split = Split(0.4 + 0.2 * torch.rand(60, d, generator=generator), torch.randint(0, 2, (60,), generator=generator))
    task = Task(Learning(split, split, 2), split)
    return Scene(net.eval(), task, Trial(threats=(threat,)), lambda data: task)


def affine(d: int, matrix: torch.Tensor) -> nn.Sequential:
    """Logits `(-s, s)` with s the first coordinate of `matrix x`; the representation is `matrix x + 1`."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(d, len(matrix)), nn.ReLU(), nn.Linear(len(matrix), 2))
    with torch.no_grad():
        net[1].weight.copy_(matrix)  # type: ignore[operator, union-attr]
        net[1].bias.fill_(1.0)  # type: ignore[operator, union-attr]
        net[3].weight.zero_()  # type: ignore[operator, union-attr]
        net[3].weight[:, 0] = torch.tensor([-1.0, 1.0])  # type: ignore[index, union-attr]
        net[3].bias.copy_(torch.tensor([1.0, -1.0]))  # type: ignore[operator, union-attr]
    return net


def test_clean_and_robust_are_the_cascades(scene: Scene) -> None:
    x, y = scene.test.x, scene.test.y
    right = (scene.net(x).argmax(1) == y).double()
    found = clean(scene).numbers["clean"]
    assert found == pytest.approx(float(right.mean()))
    attacks = (PGD(steps=20), APGD(steps=20), APGD(steps=20, loss="dlr"))
    direct = attack_survivors(scene.net, x, y, ball("l2", 0.5), attacks, batch_size=120, seed=0)
    numbers = robust(scene).numbers
    assert numbers["robust.l2@0.5"] == pytest.approx(float(direct.survived.double().mean()))
    assert numbers["ratio.l2@0.5"] == pytest.approx(numbers["robust.l2@0.5"] / found)
    assert 0 < numbers["robust.l2@0.5"] < found


def test_the_ratio_of_a_net_that_is_never_right_is_zero() -> None:
    scene = linear_scene(affine(4, torch.eye(4)), 4, Threat(norm="l2", epsilon=0.1))
    wrong = Split(scene.test.x, 1 - scene.net(scene.test.x).argmax(1))
    numbers = robust(Scene(scene.net, Task(scene.task.learning, wrong), scene.trial, scene.task_named)).numbers
    assert numbers == {"robust.l2@0.1": 0.0, "ratio.l2@0.1": 0.0}


def test_structure_is_the_mean_over_hidden_layers(scene: Scene) -> None:
    layers = [scene.net.get_submodule(name).weight.detach().double() for name in ("fc1", "fc2")]  # type: ignore[union-attr, operator]
    numbers = structure(scene).numbers
    sigma = [torch.linalg.svdvals(w) for w in layers]  # type: ignore[arg-type]
    nu = [w.abs().sum(1).sort(descending=True).values for w in layers]  # type: ignore[operator]

    def mean(values: list[torch.Tensor]) -> float:
        return float(sum(values)) / 2  # type: ignore[arg-type]

    assert numbers["structure.frobenius"] == pytest.approx(mean([s.norm() for s in sigma]))
    assert numbers["structure.stable_rank"] == pytest.approx(mean([(s / s[0]).square().sum() for s in sigma]))
    assert numbers["structure.l2_norm"] == pytest.approx(mean([s[0] for s in sigma]))
    assert numbers["structure.linf_norm"] == pytest.approx(mean([n[0] for n in nu]))
    assert numbers["structure.neuron"] == pytest.approx(mean([n[:3].sum() / n.sum() for n in nu]))
    assert numbers["structure.spectral"] == pytest.approx(mean([s[:3].sum() / s.sum() for s in sigma]))
    assert numbers["structure.spectral_epsilon"] == pytest.approx(1 - numbers["structure.spectral"])
    assert numbers["structure.log_structure_l2"] == pytest.approx(mean([(s[0] / s.norm()).log() for s in sigma]))
    assert numbers["structure.log_scale"] == pytest.approx(mean([s.norm().log() for s in sigma]))
    assert numbers["structure.parameters"] == sum(p.numel() for p in scene.net.parameters())


def test_bounds_add_up_and_hold(scene: Scene) -> None:
    numbers = bound(scene).numbers
    weights = [scene.net.get_submodule(n).weight.detach().double() for n in ("fc1", "fc2", "head")]  # type: ignore[union-attr, operator]
    product = sum(log(float(torch.linalg.svdvals(w)[0])) for w in weights)  # type: ignore[arg-type]
    assert numbers["bound.l2.log_product"] == pytest.approx(product, rel=1e-6)
    rows = sum(log(float(w.abs().sum(1).max())) for w in weights)  # type: ignore[operator]
    assert numbers["bound.linf.log_product"] == pytest.approx(rows, rel=1e-6)
    for norm in ("linf", "l2"):
        parts = [numbers[f"bound.{norm}.log_{part}"] for part in ("structure", "scale", "alignment")]
        assert sum(parts) == pytest.approx(numbers[f"bound.{norm}.log_lhat"], rel=1e-9)
        assert numbers[f"bound.{norm}.log_theorem"] >= numbers[f"bound.{norm}.log_lhat"] - 1e-9
    gaps = gap(scene).numbers
    for key, norm, epsilon in (("linf@0.05", "linf", 0.05), ("l2@0.5", "l2", 0.5)):
        assert 0 < gaps[f"gap.{key}"] <= epsilon * exp(numbers[f"bound.{norm}.log_slope"])


def test_a_network_without_a_chain_has_a_product_alone() -> None:
    trial = Trial(model="zoo:resnet?depth=8&width=4", train=50, test=20, training=Training(epochs=1))
    task = task_of("digits", 50, 20, 0)
    scene = Scene(make(trial, task.learning), task, trial, lambda data: task)
    assert bound(scene).numbers.keys() == {"bound.linf.log_product", "bound.l2.log_product"}


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_gap_of_an_affine_network_is_its_closed_form(norm: str) -> None:
    matrix = torch.randn(4, 6, generator=torch.Generator().manual_seed(1))
    scene = linear_scene(affine(6, 0.2 * matrix), 6, Threat.model_validate({"norm": norm, "epsilon": 0.05}))
    w = 0.2 * matrix[0].double()
    reach = 0.05 * float(w.abs().sum() if norm == "linf" else w.norm())
    logits = scene.net(scene.few.x).detach().double()
    margin = (logits[:, 1] - logits[:, 0]) * (2 * scene.few.y - 1)
    expected = float((F.softplus(-(margin - 2 * reach)) - F.softplus(-margin)).mean())
    numbers = gap(scene).numbers
    assert numbers[f"gap.{norm}@0.05"] == pytest.approx(expected, rel=1e-3)
    assert numbers[f"log_gap.{norm}@0.05"] == pytest.approx(log(expected), rel=1e-3)


def test_attacks_on_one_direction_align_with_it() -> None:
    matrix = torch.diag(torch.tensor([3.0, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02]))
    scene = linear_scene(affine(8, 0.1 * matrix), 8, Threat(norm="l2", epsilon=0.05))
    numbers = alignment(scene).numbers
    assert numbers["alignment.l2@0.05"] == pytest.approx(1.0, abs=1e-3)
    assert numbers["alignment_random.l2@0.05"] == 0.5
    # Trace of diag(squares): one of nine, and three of the seven small ones.
    assert numbers["alignment.spectrum"] == pytest.approx((9 + 3 * 4e-4) / (9 + 7 * 4e-4), rel=1e-3)


def test_alignment_is_the_share_of_energy(scene: Scene) -> None:
    numbers = alignment(scene).numbers
    assert numbers["alignment_random.l2@0.5"] == 4 / 64
    x = scene.task.learning.train.take(200, 0).x
    encoder = scene.net[:-1]  # type: ignore[index]
    jacobians = torch.stack(
        [torch.autograd.functional.jacobian(encoder, one[None]).flatten(0, 1).flatten(1) for one in x]
    )  # type: ignore[no-untyped-call]
    moment = torch.einsum("nij,nik->jk", jacobians.double(), jacobians.double())
    basis = torch.linalg.eigh(moment).eigenvectors[:, -4:]
    attack = (scene.worst("l2@0.5") - scene.few.x).flatten(1).double()
    expected = ((attack @ basis).square().sum(1) / attack.square().sum(1)).mean()
    assert numbers["alignment.l2@0.5"] == pytest.approx(float(expected), abs=0.01)


def test_amplification_of_an_affine_network_is_its_closed_form() -> None:
    matrix = torch.diag(torch.tensor([2.0, 0.1, 0.1, 0.1]))
    scene = linear_scene(affine(4, matrix), 4, Threat(norm="l2", epsilon=0.05))
    numbers = amplification(scene).numbers
    z = scene.few.x.double() @ matrix.double().T + 1
    expected = float((0.05 * 2.0 / z.norm(dim=1)).mean())
    assert numbers["amplification.l2@0.05"] == pytest.approx(expected, rel=1e-3)
    assert numbers["amplification_noise.l2@0.05"] < 0.8 * expected
    lift = numbers["amplification.l2@0.05"] / numbers["amplification_noise.l2@0.05"]
    assert numbers["amplification_lift.l2@0.05"] == pytest.approx(lift)


def test_the_worst_points_are_those_of_auto_pgd_and_are_found_once(scene: Scene) -> None:
    few = scene.few
    direct = WorstCase(APGD(steps=20))(
        scene.net, few.x, few.y, ball("linf", 0.05), indices=torch.arange(len(few)), seed=0
    )
    assert torch.equal(scene.worst("linf@0.05"), direct)
    assert scene.worst("linf@0.05") is scene.worst("linf@0.05")


def test_a_constant_push_fools_an_affine_network_and_noise_does_not() -> None:
    net = affine(16, 0.5 * torch.ones(1, 16))
    with torch.no_grad():
        net[3].bias.copy_(torch.tensor([5.2, -5.2]))  # type: ignore[operator, union-attr]
    scene = linear_scene(net, 16, Threat(norm="linf", epsilon=0.1))
    numbers = universal(scene).numbers
    x, before = scene.test.x, net(scene.test.x).argmax(1)
    rates = [(perturbed_predictions(net, x, s * 0.1 * torch.ones(16), 60) != before).double().mean() for s in (-1, 1)]
    assert numbers["universal.linf@0.1"] == pytest.approx(float(max(rates)), abs=0.05)
    assert numbers["universal_random.linf@0.1"] < 0.7 * numbers["universal.linf@0.1"]
    difference = numbers["universal.linf@0.1"] - numbers["universal_random.linf@0.1"]
    assert numbers["universal_lift.linf@0.1"] == pytest.approx(difference)


def test_transfer_keeps_the_encoder_and_scores_the_other_task(scene: Scene) -> None:
    reading = transferred(scene)
    assert reading.numbers.keys() == {
        f"transfer.{name}" for name in ("clean", "robust.linf@0.05", "ratio.linf@0.05", "robust.l2@0.5", "ratio.l2@0.5")
    }
    assert reading.numbers["transfer.clean"] > 0.9  # five of the ten digits that the encoder was trained on
    assert reading.arrays["transfer.clean"].shape == (120,)
    assert reading.arrays["transfer.clean"].mean() == pytest.approx(reading.numbers["transfer.clean"])
    assert not (reading.arrays["transfer.robust.l2@0.5"] & ~reading.arrays["transfer.clean"]).any()
    nowhere = Scene(scene.net, scene.task, Trial(), scene.task_named)
    with pytest.raises(UsageError, match="needs the trial's field transfer"):
        transferred(nowhere)


def test_measures_leave_the_network_as_it_was(scene: Scene) -> None:
    before = {name: value.clone() for name, value in scene.net.state_dict().items()}
    names: set[str] = set()
    for measure in (one for name, one in MEASURES.items() if name != "known"):
        numbers = measure(scene).numbers
        assert not names & numbers.keys()  # each number has one owner
        names |= numbers.keys()
    assert all(torch.equal(before[name], value) for name, value in scene.net.state_dict().items())
    assert not scene.net.training
    assert all(p.requires_grad for p in scene.net.parameters())


def test_unknown_measures_are_refused() -> None:
    check_measures(tuple(MEASURES))
    with pytest.raises(UsageError, match="unknown measure 'beauty': expected one of clean, robust, structure, bound"):
        check_measures(("clean", "beauty"))


@pytest.mark.parametrize("data", ["synthetic:linear", "synthetic:two-layer"])
def test_the_known_best_is_that_of_the_known_network(data: str) -> None:
    trial = Trial(data=data, threats=(Threat(norm="linf", epsilon=0.01),))
    task = task_of(data, None, 100, 0)
    numbers = known(Scene(nn.Identity(), task, trial, lambda _: task)).numbers
    problem = known_of(data.removeprefix("synthetic:"))
    assert set(numbers) == {"known.clean", "known.linf@0.01"}
    right, _ = clean_right(problem.network(), task.test.x, task.test.y, 500)
    assert numbers["known.clean"] == pytest.approx(float(right.double().mean()), abs=0.06)
    assert numbers["known.linf@0.01"] < numbers["known.clean"]


@pytest.mark.parametrize("data", ["digits", "synthetic:spectrum"])
def test_the_known_best_of_other_tasks_is_refused(data: str) -> None:
    task = task_of(data, None, 100, 0)
    with pytest.raises(UsageError, match="nobody knows the best accuracy"):
        known(Scene(nn.Identity(), task, Trial(data=data), lambda _: task))
