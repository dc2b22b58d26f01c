"""Recovery: a compressed net is trained again, within a budget counted in gradient evaluations."""

from brittle.training.recovery.budget import Spending, spending
from brittle.training.recovery.kinds import RECOVERIES
from brittle.training.recovery.recover import Recovered, recover
from brittle.training.recovery.settings import Recovery

__all__ = ["RECOVERIES", "Recovered", "Recovery", "Spending", "recover", "spending"]
