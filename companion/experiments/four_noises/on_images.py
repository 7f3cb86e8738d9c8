"""What records of the image experiment say of the predictions, beside points and digits."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from companion.experiments.four_noises.comparisons import (
    averaged,
    budgets,
    image_gain,
    image_interaction,
    image_widths,
)
from companion.experiments.four_noises.sampling import PICARD_LEVELS, SAMPLERS
from companion.experiments.results import Results

__all__ = [
    "Told",
    "contrastive_on_images",
    "elsewhere_on_images",
    "gradient_on_images",
    "noisy_on_images",
    "on_images",
    "pairs_on_images",
    "perturbed_on_images",
    "widths_on_images",
]

Told = Mapping[str, Results | None]
"""Records of the image experiment by their titles."""


def on_images(images: Told, says: Callable[[Results], str]) -> str:
    """Return what each record says, as sentences to add; nothing without a record."""
    return "".join(
        f" {title}, {record.table['seed'].nunique()} seeds: {says(record)}."
        for title, record in images.items()
        if record is not None
    )


def widths_on_images(record: Results) -> str:
    """Say how far the calculated widths are from the measured ones."""
    wide = image_widths(record)
    if wide is None:
        return "the log width was not measured"
    return (
        f"the calculated log width misses by {wide.miss_ratio.mean:.2f} of the standard deviation, "
        f"and the shift is {wide.shift_slope:.2f} times the calculated one"
    )


def perturbed_on_images(record: Results) -> str:
    """Say what input perturbation does with the fewest steps."""
    few = budgets(record)[0]
    ddim, ddpm = (averaged([image_gain(record, "perturbed", s, few)]) for s in ("ddim", "ddpm"))
    return (
        f"with {few} steps the distance is {ddim} of that of plain training for DDIM and {ddpm} "
        "for DDPM"
    )


def gradient_on_images(record: Results) -> str:
    """Say what input perturbation does with gradient estimation."""
    gains = [image_gain(record, "perturbed", "gradient_estimation", n) for n in budgets(record)]
    return f"with gradient estimation the distance is {averaged(gains)} of that of plain training"


def contrastive_on_images(record: Results) -> str:
    """Say what the contrastive loss does with Picard iteration."""
    early = [n for n in budgets(record) if n < PICARD_LEVELS]
    alone = averaged([image_gain(record, "contrastive", "picard", n) for n in early])
    return (
        f"with Picard iteration that has not converged the distance is {alone} of that of plain "
        "training"
    )


def elsewhere_on_images(record: Results) -> str:
    """Say what the contrastive loss does with the other samplers."""
    others = [s for s in SAMPLERS if s != "picard"]
    gains = [image_gain(record, "contrastive", s, n) for s in others for n in budgets(record)]
    return f"over the other samplers the distance is {averaged(gains)} of that of plain training"


def noisy_on_images(record: Results) -> str:
    """Say how much less better samplers gain for ambient networks."""
    late = budgets(record)[1:] or budgets(record)
    ambient, consistent = (
        averaged(
            [
                image_interaction(record, training, s, n)
                for s in ("heun", "gradient_estimation")
                for n in late
            ]
        )
        for training in ("ambient high", "consistent high")
    )
    return f"the factor is {ambient} without and {consistent} with consistency"


def pairs_on_images(record: Results) -> str:
    """Say what input perturbation with the contrastive loss does, against the better half."""
    places = [
        (s, n)
        for s in SAMPLERS
        for n in budgets(record)
        if np.isfinite(image_gain(record, "both", s, n)).all()
    ]
    gains = {
        t: [image_gain(record, t, s, n) for s, n in places]
        for t in ("both", "perturbed", "contrastive")
    }
    if not places or not np.isfinite(list(gains.values())).all():
        return "the pair was not measured"
    half = min(("perturbed", "contrastive"), key=lambda t: float(np.mean(gains[t])))
    over = averaged([both - one for both, one in zip(gains["both"], gains[half])])
    return (
        f"over all samplers and budgets the distance of the pair is {over} of that of its better "
        f"half, {record.facts['labels'][half]}"
    )
