"""Certificates of single inputs from global constants: `r_p(x) = min_{j != y} m_j(x) / L_yj` (theory section 5)."""

from __future__ import annotations

import torch
from torch import Tensor


def certified_radii(logits: Tensor, y: Tensor, pairs: Tensor, slack: float) -> Tensor:
    """The radius inside which no perturbation changes the prediction: (b,), 0 where the input is misclassified.

    Args:
        logits: (b, K) on clean inputs.
        y: (b,) labels.
        pairs: (K, K) constants of logit differences; a pair of constant 0 with a positive margin is never lost.
        slack: what is subtracted from every margin, relative to the input's largest |logit|: the network's own
            floating point error, so that the certificate speaks about the network as it is evaluated.
    """
    logits = logits.to(torch.float64)
    right = logits.gather(1, y[:, None])
    margins = right - logits - slack * logits.abs().amax(1, keepdim=True)
    # x / 0 is infinite for a positive margin: that class is never reached. NaN anywhere certifies nothing.
    ratios = torch.where(margins > 0, margins / pairs.to(logits)[y], 0.0).nan_to_num(nan=0.0, posinf=torch.inf)
    ratios.scatter_(1, y[:, None], torch.inf)
    return ratios.amin(1) * (1 - 1e-12)
