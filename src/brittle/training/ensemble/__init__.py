"""Many nets of one architecture trained at once, each as it would be alone.

Legend in all files: M members, b samples of a member, P trainable numbers of a member, (h, d) a structure matrix.
"""

from brittle.training.ensemble.engine import train_ensemble
from brittle.training.ensemble.many import train_many
from brittle.training.ensemble.rule import at_once_by_rule

__all__ = ["at_once_by_rule", "train_ensemble", "train_many"]
