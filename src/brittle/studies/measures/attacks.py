"""What attacks of largest loss do to the network: the gap, where they point, how they grow inside.

Legend: n samples, d pixels, k directions, a perturbations (n, d), z representations (n, w).
"""

from __future__ import annotations

from math import log
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from brittle.attacks.noise import sample_noise
from brittle.directions.network import network_directions
from brittle.models.frozen import frozen
from brittle.sensitivity.amplification import like_noise
from brittle.studies.measures.scene import BATCH, Reading, Scene
from brittle.training.head import head_name, representation

# Leading directions, and the training samples they are fitted on.
DIRECTIONS: Final = 4
_FIT: Final = 200
# A direction's relative residual that is good enough for a share of energy.
_TOLERANCE: Final = 3e-2
_TINY: Final = 1e-12


def gap(scene: Scene) -> Reading:
    """For each threat "gap.linf@0.05", adversarial minus clean mean cross-entropy (nats), and its "log_gap.linf@0.05".

    The left side of Corollary 3.3 from below: Auto-PGD-20 on at most 250 test samples. Logarithms are natural.
    """
    numbers: dict[str, float] = {}
    for key in scene.threats:
        with frozen(scene.net), torch.no_grad():
            clean = F.cross_entropy(scene.net(scene.few.x).double(), scene.few.y, reduction="none")
            attacked = F.cross_entropy(scene.net(scene.worst(key)).double(), scene.few.y, reduction="none")
        numbers[f"gap.{key}"] = float((attacked - clean).clamp_min(0).mean())
        numbers[f"log_gap.{key}"] = log(max(numbers[f"gap.{key}"], _TINY))
    return Reading(numbers)


def alignment(scene: Scene) -> Reading:
    """For each threat "alignment.linf@0.05", the mean share of an attack's energy in the 4 leading directions.

    `||V^t a||_2^2 / ||a||_2^2` in [0, 1], V the leading eigenvectors of `E[J^t J]`, J from pixels to the
    representation, fitted on 200 training samples; attacks are on test samples. "alignment_random.linf@0.05" is what
    random directions get of any attack, 4 / d; "alignment.spectrum" is the share of the trace that V carries on test
    samples: how much the network has dominant directions at all.
    """
    fit = scene.task.learning.train.take(_FIT, scene.trial.data_seed)
    d = scene.few.x[0].numel()
    k = min(DIRECTIONS, d)
    found, vectors = network_directions(
        scene.net,
        fit.x,
        fit.y,
        scene.few.x,
        scene.few.y,
        k=k,
        seed=scene.trial.seed,
        tolerance=_TOLERANCE,
        batch_size=_FIT,
    )
    basis = vectors.flatten(1).double()
    numbers = {"alignment.spectrum": sum(one.scored_share for one in found.directions)}
    for key in scene.threats:
        attack = (scene.worst(key) - scene.few.x).flatten(1).double()
        energy = attack.square().sum(1)
        moved = energy > 0
        share = (attack[moved] @ basis.T).square().sum(1) / energy[moved]
        numbers[f"alignment.{key}"] = float(share.mean()) if bool(moved.any()) else 0.0
        numbers[f"alignment_random.{key}"] = k / d
    return Reading(numbers)


def amplification(scene: Scene) -> Reading:
    """For each threat "amplification.linf@0.05", the mean of `||z_adv - z||_2 / ||z||_2` at the head's input.

    "amplification_noise.linf@0.05" is that of random noise of each attack's own length in the threat's norm, and
    "amplification_lift.linf@0.05" the first mean over the second: what the attack's direction adds.
    """
    head = head_name(scene.net, scene.few.x[:2])
    z = representation(scene.net, head, scene.few.x, BATCH).double()
    numbers: dict[str, float] = {}
    for key, threat in scene.threats.items():
        x, x_adv = scene.few.x, scene.worst(key)
        noise = sample_noise(
            scene.trial.seed, range(len(x)), x.shape[1:], "study/amplification", dtype=x.dtype, device=x.device
        )
        noisy = x + like_noise(x, x_adv - x, noise, threat)
        attacked, random = (
            _growth(z, representation(scene.net, head, other, BATCH).double()) for other in (x_adv, noisy)
        )
        numbers[f"amplification.{key}"] = attacked
        numbers[f"amplification_noise.{key}"] = random
        numbers[f"amplification_lift.{key}"] = attacked / max(random, _TINY)
    return Reading(numbers)


def _growth(z: Tensor, other: Tensor) -> float:
    """Samples whose representation is zero do not count."""
    length = z.norm(dim=1)
    usable = length > 0
    return float(((other - z).norm(dim=1)[usable] / length[usable]).mean()) if bool(usable.any()) else 0.0
