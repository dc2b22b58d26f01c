"""The few words a reader of the report may not know."""

from __future__ import annotations

GLOSSARY: tuple[tuple[str, str], ...] = (
    (
        "threat",
        "a norm and a radius ε: an attacker may change the input by any perturbation of at most that length. "
        "Pixels are in [0, 1]; ℓ∞ limits every pixel, ℓ₂ the Euclidean length over all of them.",
    ),
    (
        "robust accuracy",
        "the share of samples that stay right under every perturbation of the threat. It is not known exactly; "
        "certified ≤ robust ≤ under attack.",
    ),
    (
        "under attack",
        "the share that the attacks run here failed to flip: an upper bound.",
    ),
    (
        "certified",
        "the share proved to stay right: a lower bound.",
    ),
    (
        "random noise",
        "accuracy under random perturbations of full length. A net that noise hurts is fragile in general.",
    ),
    (
        "paired interval",
        "95% interval of the difference on the same samples (bootstrap); narrower than two intervals apart.",
    ),
    (
        "structure and scale",
        "a layer's operator norm is structure × scale: the norm at fixed Frobenius norm, times that norm.",
    ),
    (
        "sensitive direction",
        "a direction of the input along which small changes move the net most, on average over samples.",
    ),
    (
        "universal perturbation",
        "one perturbation for all inputs; its fooling rate is the share of inputs whose prediction it changes.",
    ),
    (
        "stable rank",
        "‖W‖_F² / σ₁²: over how many directions a matrix spreads its size; 1 means a single one.",
    ),
    (
        "Lipschitz constant",
        "the most that logits can change for a change of one unit of the input.",
    ),
    (
        "exact, upper bound, lower bound, estimate",
        "what a number proves: the truth itself, never less than the truth, never more than the truth, or neither.",
    ),
)
