"""What an audit can find, as SARIF rules: one entry for each kind of finding, in the order of the file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Rule:
    """A `reportingDescriptor` (SARIF 2.1.0, 3.49); `level` is what a result of it has where it does not say."""

    id: str
    name: str
    short: str
    full: str
    help: str
    level: str

    def to_sarif(self) -> dict[str, Any]:
        """The object under `tool.driver.rules`."""
        return {
            "id": self.id,
            "name": self.name,
            "shortDescription": {"text": self.short},
            "fullDescription": {"text": self.full},
            "help": {"text": self.help},
            "defaultConfiguration": {"level": self.level},
            "properties": {"tags": ["adversarial robustness", "compression"]},
        }


DROP = Rule(
    "brittle/robust-accuracy-drop",
    "RobustAccuracyDrop",
    "Compression cost more robust accuracy than is tolerated.",
    "At one threat (norm and radius) the paired 95% interval of the drop in robust accuracy, base minus model on the "
    "same samples, lies above the tolerance. An interval that holds the tolerance is reported as open.",
    "Keep a larger fraction, or reach the size in another way, and audit again against the same base. An open result "
    "needs more samples. The accuracies are those under attack, which a stronger attack could lower.",
    "error",
)
LAYER = Rule(
    "brittle/layer-norm-growth",
    "LayerNormGrowth",
    "The operator norm of a layer grew where the model became brittle.",
    "One of the layers whose norm grew most from base to model, split into scale (the size of the weights) and "
    "structure (how sharply the same size amplifies). Reported for the norms at which the model is brittle.",
    "Compress that layer less, and audit again. This explains a bound; it does not prove what caused the drop.",
    "none",
)
MASKING = Rule(
    "brittle/masked-gradients",
    "MaskedGradients",
    "A sign that attacks by gradients see less than there is.",
    "After the attacks, a comparison that should hold for a model with usable gradients did not hold.",
    "Do not trust the accuracy under attack yet: audit with --effort thorough, which adds attacks without gradients.",
    "warning",
)
PREFLIGHT = Rule(
    "brittle/preflight",
    "Preflight",
    "The model or the data are not what an audit expects.",
    "A check before the attacks found something that makes numbers worse to trust, or wrong.",
    "Follow the advice in the message, then audit again.",
    "warning",
)
RULES: tuple[Rule, ...] = (DROP, LAYER, MASKING, PREFLIGHT)
