"""Corollary 3.3 for many classes: what a perturbation can add to the mean cross-entropy.

Cross-entropy is `log(1 + sum_{j != y} exp(-m_j))`, 1-Lipschitz in the margins m_j for the max norm, so
`F_adv(delta) <= F + delta max_{j != k} L_jk` with L_jk the constant of `z_j - z_k`.
"""

from __future__ import annotations

from torch import Tensor

from brittle.results.bounds import Gap


def gap(norm: str, epsilon: float, clean_loss: float, adversarial_loss: float, pairs: Tensor | None, n: int) -> Gap:
    """The gap `F_adv - F` (nats) measured on n samples by an attack, a lower bound, beside the upper bound.

    `pairs` (K, K) holds the L_jk; without it there is no bound.
    """
    bound = None if pairs is None else float(pairs.max()) * epsilon * (1 + 1e-15)
    return Gap(norm, epsilon, adversarial_loss - clean_loss, bound, n)
