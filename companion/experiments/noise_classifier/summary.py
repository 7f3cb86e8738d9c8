"""Chapter 3 in short: six lines, chosen by its verdicts and filled from its results."""

from __future__ import annotations

from companion.experiments.claims import Claims
from companion.experiments.contested import UNDECIDED, Contested
from companion.experiments.in_short import InShort, choose
from companion.experiments.noise_classifier.comparisons import ratio_text
from companion.experiments.noise_classifier.continuations import SAME_COST, SAME_STEPS
from companion.experiments.noise_classifier.digits import DigitSamples
from companion.experiments.noise_classifier.evidence import kinds_of_samples, mean_ratios
from companion.experiments.noise_classifier.image_verdict import contested
from companion.experiments.noise_classifier.images import ImageContrast
from companion.experiments.noise_classifier.samples import ParallelSamples, SequentialSamples
from companion.experiments.noise_classifier.verdicts import verdicts
from companion.experiments.session import Session
from companion.statistics import Interval

__all__ = ["in_short", "summarise"]

SHOWN = "points in parallel"
"""The kind of samples whose number is shown: what the paper is about."""

WORKS = {
    "supported": "Yes: at equal training cost its samples are better than after plain denoising.",
    "depends": "In part: at equal training cost some kinds of samples are better than after plain "
    "denoising.",
    "not supported": "No: on points and 8 × 8 digits, at equal training cost, no kind of samples "
    "is 5 % better than after plain denoising.",
    "inconclusive": "Not decided: at equal training cost samples may be better than after plain "
    "denoising.",
}
USE = {
    "supported": "You sample in parallel, or with few steps. As a test of 'clean or noised?' any "
    "good denoiser will do, without the loss.",
    "depends": "You can measure the gain on your own samples against longer plain training. The "
    "test 'clean or noised?' needs no loss.",
    "else": "You need a likelihood ratio or a test of 'clean or noised?': any good denoiser gives "
    "it, without the loss.",
}
AVOID = {
    "supported": "Training cannot pay for the additional network evaluations.",
    "depends": "You have no control of equal cost: spend the evaluations on plain denoising first.",
    "else": "You want better samples for the same cost: spend the evaluations on plain denoising.",
}


def in_short(session: Session) -> InShort:
    """Run what the chapter rests on, or take it from memory, and sum it up."""
    samples = [session.run(e) for e in (SequentialSamples, ParallelSamples, DigitSamples)]
    kinds = kinds_of_samples(*samples)
    cost, steps = (mean_ratios(kinds, control)[SHOWN] for control in (SAME_COST, SAME_STEPS))
    images = contested(session.records(ImageContrast))
    return summarise(session.published(verdicts(session)), cost, steps, images)


def summarise(
    claims: Claims, cost: Interval, steps: Interval, images: Contested | None = None
) -> InShort:
    """Six lines on the chapter.

    Parameters
    ----------
    claims : Claims of the chapter
    cost, steps : Interval
        Distance to the data of samples drawn in parallel, with the loss over denoising at equal
        evaluations, and at equal steps.
    images : Contested, optional
        What records of trained U-Nets say of the same claim.
    """
    decided = images if images is not None and images.verdict != UNDECIDED else None
    told = {claim.id: claim.verdict for claim in claims}
    verdict = told["classifier-samplers"]
    return InShort(
        method="contrastive diffusion loss",
        what="A denoiser holds a likelihood at every noise level, so it can tell a clean point "
        "from a noised one. The loss trains the denoiser on this test, beside denoising.",
        works=choose(verdict, WORKS),
        use=choose(verdict, USE),
        avoid=choose(verdict, AVOID),
        number="Distance of parallel samples to the data, with the loss over denoising: "
        f"{ratio_text(cost)} at equal network evaluations, {ratio_text(steps)} at equal steps "
        "(points).",
        caveat=f"Small U-Nets: {decided.answer} A large one, trained for days, may differ."
        if decided
        else "Networks are small and train briefly. Whether the loss helps a large network that "
        "has been trained for days is not known from this.",
        claims=claims,
    )
