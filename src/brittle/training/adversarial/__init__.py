"""Adversarial training: objectives whose samples are attacked while the net learns."""

from brittle.training.adversarial.fast import FastTraining
from brittle.training.adversarial.overfitting import OverfittingWatch, overfitting
from brittle.training.adversarial.pgd import PGDTraining
from brittle.training.adversarial.table import OBJECTIVES, objective_named
from brittle.training.adversarial.trades import TRADES
from brittle.training.adversarial.universal import UniversalTraining

__all__ = [
    "OBJECTIVES",
    "TRADES",
    "FastTraining",
    "OverfittingWatch",
    "PGDTraining",
    "UniversalTraining",
    "objective_named",
    "overfitting",
]
