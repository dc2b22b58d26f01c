"""Our attacks beside the reference implementations, on the same samples in the same process: accuracy and CPU seconds.

    OMP_NUM_THREADS=1 python -m benchmarks.attacks --samples 500 --seed 0

Net: the lightly adversarially trained Fashion-MNIST CNN of `benchmarks.nets` at l_inf 0.1 and l_2 1.0, on a seeded draw
from the test split. Three questions, each answered for both norms:

1. Auto-PGD on the cross-entropy against pyautoattack's, equal steps and restarts: accuracies within half a point?
2. PGD against foolbox's, equal steps and step sizes: equal accuracies?
3. The cascade against pyautoattack's standard AutoAttack: accuracy at most half a point above, at an eighth of its CPU
   time? Below is better: both are upper bounds.

"Robust" is always the share of all samples that are classified correctly as they are and that the attack did not
break: samples that are wrong as they are count as broken everywhere, and nobody spends time on them. Every accuracy is
an upper bound on robust accuracy. All randomness comes from --seed; CPU seconds vary with the machine, their ratios
less. The settings of the cascade were chosen on training images, never on these samples.

--net takes other nets, to see that the cascade is not fitted to one (their data and weights must be there).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from benchmarks.nets import NETS
from foolbox import PyTorchModel
from foolbox.attacks import L2PGD, LinfPGD
from pyautoattack import AutoAttack
from pyautoattack.autopgd_base import APGDAttack
from torch import Tensor, nn

from brittle.attacks.apgd import APGD
from brittle.attacks.cascade import Cascade
from brittle.attacks.pgd import PGD
from brittle.attacks.protocol import Attack
from brittle.evaluation.accuracy import attack_survivors, clean_right
from brittle.threats import Ball, ball

THEIR_NORM = {"linf": "Linf", "l2": "L2"}
APGD_STEPS = 100
PGD_STEPS, PGD_STEP = 40, 0.1
CASCADE: tuple[Attack, ...] = (PGD(20), APGD(50), Cascade())
BATCH = 250
HALF_A_POINT = 0.005


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--net", default="light", choices=NETS)
    parser.add_argument("--split", default="test", help="train: the samples that choices are made on")
    parser.add_argument("--skip-autoattack", action="store_true", help="leave out the third question, the long one")
    options = parser.parse_args()
    torch.set_num_threads(1)
    chosen = NETS[options.net]
    model, x, y = chosen.load(options.split, options.samples, options.seed)
    right, _ = clean_right(model, x, y, BATCH)
    print(f"{options.net}: {len(x)} {options.split} samples, seed {options.seed}, clean {percent(right)}, one thread")
    for norm, epsilon in chosen.radii.items():
        print(f"\n{norm} {epsilon:g}\n{'':44}{'robust':>8}{'CPU s':>9}", flush=True)
        compare(model, x, y, right, ball(norm, epsilon), options.seed, not options.skip_autoattack)


def compare(
    model: nn.Module, x: Tensor, y: Tensor, right: Tensor, threat: Ball, seed: int, with_autoattack: bool
) -> None:
    ours = timed(f"APGD-CE {APGD_STEPS}", lambda: mine((APGD(APGD_STEPS),), model, x, y, threat, seed))
    theirs = timed("  pyautoattack", lambda: reference_apgd(model, x, y, right, threat, seed))
    verdict("within half a point", abs(share(ours) - share(theirs)) <= HALF_A_POINT)
    pgd = PGD(PGD_STEPS, PGD_STEP, loss="ce")
    ours = timed(f"PGD-CE {PGD_STEPS}", lambda: mine((pgd,), model, x, y, threat, seed))
    theirs = timed("  foolbox", lambda: reference_pgd(model, x, y, right, threat, seed))
    verdict(
        f"equal but for {int((ours[0] != theirs[0]).sum())} samples", abs(share(ours) - share(theirs)) <= HALF_A_POINT
    )
    ours = timed("cascade", lambda: mine(CASCADE, model, x, y, threat, seed))
    if not with_autoattack:
        return
    theirs = timed("  AutoAttack standard", lambda: standard(model, x, y, right, threat, seed))
    verdict("at most half a point above", share(ours) - share(theirs) <= HALF_A_POINT)
    ratio = theirs[1] / ours[1]
    verdict(f"{ratio:.1f} times faster, 8 wanted, 10 hoped for", ratio >= 8)
    print(
        f"  broken by us alone {int((theirs[0] & ~ours[0]).sum())}, by them alone {int((ours[0] & ~theirs[0]).sum())}"
    )


Outcome = tuple[Tensor, float]


def timed(name: str, attack: Callable[[], Tensor]) -> Outcome:
    """Which samples stood, and the CPU seconds; prints the row."""
    started = time.process_time()
    stood = attack()
    seconds = time.process_time() - started
    print(f"{name:44}{percent(stood):>8}{seconds:9.1f}", flush=True)
    return stood, seconds


def mine(attacks: tuple[Attack, ...], model: nn.Module, x: Tensor, y: Tensor, threat: Ball, seed: int) -> Tensor:
    return attack_survivors(model, x, y, threat, attacks, batch_size=BATCH, seed=seed).survived


def reference_apgd(model: nn.Module, x: Tensor, y: Tensor, right: Tensor, threat: Ball, seed: int) -> Tensor:
    attack = APGDAttack(
        model,
        n_iter=APGD_STEPS,
        norm=THEIR_NORM[threat.norm],
        n_restarts=1,
        eps=threat.epsilon,
        seed=seed,
        device="cpu",
    )
    return scored(model, x, y, right, lambda a, b: attack.perturb(a, b))


def reference_pgd(model: nn.Module, x: Tensor, y: Tensor, right: Tensor, threat: Ball, seed: int) -> Tensor:
    torch.manual_seed(seed)
    kind = {"linf": LinfPGD, "l2": L2PGD}[threat.norm]
    attack = kind(steps=PGD_STEPS, rel_stepsize=PGD_STEP)
    wrapped = PyTorchModel(model, bounds=(0, 1), device="cpu")
    return scored(model, x, y, right, lambda a, b: attack(wrapped, a, b, epsilons=threat.epsilon)[1])


def standard(model: nn.Module, x: Tensor, y: Tensor, right: Tensor, threat: Ball, seed: int) -> Tensor:
    attack = AutoAttack(model, norm=THEIR_NORM[threat.norm], eps=threat.epsilon, seed=seed, version="standard")
    x_adv, _ = attack.run_standard_evaluation(x, y, batch_size=BATCH)
    return right & clean_right(model, x_adv, y, BATCH)[0]


def scored(model: nn.Module, x: Tensor, y: Tensor, right: Tensor, attack: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Which samples stand after an attack of the correctly classified ones."""
    stood = right.clone()
    for part in right.nonzero()[:, 0].split(BATCH):
        stood[part] = clean_right(model, attack(x[part], y[part]), y[part], BATCH)[0]
    return stood


def share(outcome: Outcome) -> float:
    return float(outcome[0].double().mean())


def percent(stood: Tensor) -> str:
    return f"{100 * float(stood.double().mean()):.1f} %"


def verdict(question: str, holds: bool) -> None:
    print(f"  {question}: {'yes' if holds else 'NO'}", flush=True)


if __name__ == "__main__":
    main()
