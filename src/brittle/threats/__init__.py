"""Threat models: balls of perturbations around an input. The only folder that knows norm geometry.

Legend: b batch; every tensor of perturbations is (b, ...), pixels are in [0, 1] and radii are in pixel units.
"""

from brittle.threats.box import EVERYWHERE, PIXELS, Box, in_box
from brittle.threats.l1 import L1Ball
from brittle.threats.l2 import L2Ball
from brittle.threats.linf import LinfBall
from brittle.threats.protocol import Ball
from brittle.threats.table import BALLS, ball, inner

__all__ = ["BALLS", "EVERYWHERE", "PIXELS", "Ball", "Box", "L1Ball", "L2Ball", "LinfBall", "ball", "in_box", "inner"]
