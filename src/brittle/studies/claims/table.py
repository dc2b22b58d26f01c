"""The twelve claims."""

from __future__ import annotations

from typing import Final

from brittle.studies.claims.axis import ANY_SOURCE, BOUND
from brittle.studies.claims.claim import Claim
from brittle.studies.claims.mechanism import ALIGNMENT, AMPLIFICATION
from brittle.studies.claims.mild import MILD
from brittle.studies.claims.one_for_all import UNIVERSAL
from brittle.studies.claims.pairs import INTERVENTIONS, STRUCTURED
from brittle.studies.claims.persistence import ADVERSARIAL, TRANSFER
from brittle.studies.claims.robustness import NEURON, SPECTRAL

CLAIMS: Final[dict[str, Claim]] = {
    "C1": NEURON,
    "C2": SPECTRAL,
    "C3": ALIGNMENT,
    "C4": AMPLIFICATION,
    "C5": BOUND,
    "C6": ANY_SOURCE,
    "C7": ADVERSARIAL,
    "C8": TRANSFER,
    "C9": UNIVERSAL,
    "C10": INTERVENTIONS,
    "C11": STRUCTURED,
    "C12": MILD,
}
