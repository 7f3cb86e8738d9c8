"""Experiments of chapter 6: the residual of an equation in the loss, and its free rivals."""

from companion.experiments.physics import figures, summary, tables
from companion.experiments.physics.circle import Circle, ExactCircle
from companion.experiments.physics.lines import ExactLines, Lines
from companion.experiments.physics.square import Square
from companion.experiments.physics.summary import in_short
from companion.experiments.physics.verdicts import verdicts

__all__ = [
    "Circle",
    "ExactCircle",
    "ExactLines",
    "Lines",
    "Square",
    "figures",
    "in_short",
    "summary",
    "tables",
    "verdicts",
]
