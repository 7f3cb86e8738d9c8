"""Trainings that go on from the same networks: the contrastive loss and its two controls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from companion import objectives, training

__all__ = [
    "BATCH",
    "BEFORE",
    "CONTRASTIVE",
    "CONTROLS",
    "OFFICIAL",
    "SAME_COST",
    "SAME_STEPS",
    "SHORT",
    "TRAINED",
    "Goals",
    "continue_training",
    "cost_factor",
    "gather",
    "with_controls",
]

BATCH = 128

BEFORE = "before"
SAME_STEPS = "denoising, same steps"
SAME_COST = "denoising, same evaluations"
CONTRASTIVE = "with the contrastive loss"
OFFICIAL = "contrastive, official setting"
CONTROLS = (SAME_STEPS, SAME_COST)
TRAINED = (SAME_STEPS, SAME_COST, CONTRASTIVE)

SHORT = {
    BEFORE: "before",
    SAME_STEPS: "same steps",
    SAME_COST: "same evaluations",
    CONTRASTIVE: "contrastive",
    OFFICIAL: "official setting",
}
"""Names for the heads of tables."""

Goals = dict[str, tuple[Any, int]]
"""Method -> objective and steps."""


def cost_factor(loss: objectives.ContrastiveDiffusion, batch: int = BATCH) -> float:
    """Network evaluations of a step with the loss, over those of denoising alone."""
    return (batch + loss.evaluations * (loss.samples or batch)) / batch


def with_controls(
    denoising: Any,
    contrastive: objectives.ContrastiveDiffusion,
    steps: int,
    weight: float,
    batch: int = BATCH,
) -> Goals:
    """Return the contrastive loss and its controls of equal steps and of equal evaluations.

    Parameters
    ----------
    denoising, contrastive : objectives
    steps : int
        With the loss, and of the control of equal steps.
    weight : float
        Of the contrastive loss beside denoising.
    batch : int
        Samples of a step.
    """
    longer = round(steps * cost_factor(contrastive, batch))
    both = objectives.Sum((denoising, contrastive), (1.0, weight))
    return {
        SAME_STEPS: (denoising, steps),
        SAME_COST: (denoising, longer),
        CONTRASTIVE: (both, steps),
    }


def continue_training(
    before: Any, goals: Goals, sets: Sequence[Tensor], seeds: Sequence[int], lr: float
) -> dict[str, Any]:
    """Train on, for each method, from the same networks and with the same seeds.

    Parameters
    ----------
    before : Stack of R denoisers
    goals : dict, method -> objective and steps
    sets, seeds : R data sets, R seeds
    lr : float
        Learning rate.

    Returns
    -------
    dict, method -> Stack
    """
    networks = [before[i] for i in range(len(before))]
    return {
        name: training.fit(
            networks, objective, list(sets), steps=steps, batch_size=BATCH, lr=lr,
            seed=list(seeds), device="cpu",
        ).denoiser
        for name, (objective, steps) in goals.items()
    }  # fmt: skip


def gather(stack: Any, runs: Sequence[int]) -> training.Stack:
    """Return some runs of a stack as a stack, for evaluation."""
    return training.Stack([stack[i] for i in runs]).requires_grad_(False).eval()
