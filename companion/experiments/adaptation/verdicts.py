"""What chapter 8 concludes: one rule a claim. Better means one percentage point of accuracy."""

from __future__ import annotations

from collections.abc import Mapping

from companion.experiments.adaptation.comparisons import (
    POINT,
    UNTUNED,
    answer,
    corruptions,
    deciding,
    differences,
    judged,
    matters,
    noises,
    on_images,
    told,
)
from companion.experiments.adaptation.images import ImageRace
from companion.experiments.adaptation.race import DigitRace
from companion.experiments.claims import Claim, Claims
from companion.experiments.results import Results
from companion.experiments.session import Session
from companion.statistics import Interval, combine

__all__ = ["verdicts"]

PAIRS = {
    "one call": "one call, ambient",
    "sampled": "sampled, ambient",
    "retrained": "tuned, one call, ambient",
}
"""Ways with the denoiser that never saw clean data, by what they do."""
CLEAN = {"one call": "one call", "sampled": "sampled", "retrained": "tuned, one call"}
"""The same with the denoiser from clean data."""
TUNED = ("tuned, one call", "tuned, sampled")
SEEDS = "A seed has its own networks and its own noise; the images are those of the data set."


def verdicts(session: Session) -> Claims:
    """Run what the claims rest on, or take it from memory, and apply all rules."""
    race, images = session.run(DigitRace), session.records(ImageRace).there()
    return Claims(
        [
            comparison(race),
            improves(race),
            rival(race, images),
            guidance(race),
            consistently(race),
            kinds(race, images),
            benchmarks(),
            unaligned(race),
            tuned(race),
            tuned_rival(race),
        ]
    )


def comparison(race: Results) -> Claim:
    """Whether clean data in the denoiser's training matter to the classifier behind it."""
    conditions = noises(race)
    number = len(conditions) * len(PAIRS)
    found = {
        f"{name}, {condition}": interval
        for name, way in PAIRS.items()
        for condition, interval in differences(
            race, conditions, [way], [CLEAN[name]], number
        ).items()
    }
    each = {place: matters(interval) for place, interval in found.items()}
    verdict = combine(each.values())
    count, against = (list(each.values()).count(v) for v in ("supported", "not supported"))
    answers = {
        "supported": "Yes: a denoiser that never saw clean data changes the accuracy everywhere.",
        "not supported": "Compared: a denoiser that never saw clean data costs under two points.",
        "inconclusive": "A denoiser without clean training data costs under two points in "
        f"{against} of {number} settings.",
        "depends": f"It matters in {count} of {number} settings that the denoiser saw clean data.",
    }
    decides = max(found.values(), key=lambda i: abs(i.mean))
    return _claim(
        "adaptation-comparison",
        verdict,
        "Accuracy with the denoiser from noisy data only (ambient Tweedie, data noise 0.5), less "
        "that with one from clean data, in front of the same classifier, Gaussian noise. It "
        f"matters from two points on. {told(found, verdict)}",
        answers[verdict],
        decides,
    )


def improves(race: Results) -> Claim:
    """Sampling in front of the classifier improves it, without a change of its weights."""
    return _better(
        "adaptation-improves",
        differences(race, noises(race) + corruptions(race), ["sampled"], ["nothing"]),
        "Accuracy after diffusing and sampling, less that with nothing in front.",
        {
            "supported": "Yes: sampling in front of an unchanged classifier always helps.",
            "not supported": "No: sampling in front of an unchanged classifier gains no point.",
            "inconclusive": "Undecided: sampling in front of a classifier may gain a point.",
            "depends": "A sampler before a classifier helps",
        },
    )


def rival(race: Results, images: Mapping[str, Results] | None = None) -> Claim:
    """The best purifier is better than a classifier that was trained with noise."""
    ways = (*UNTUNED, "guided")
    return _better(
        "adaptation-rival",
        differences(race, noises(race) + corruptions(race), ways, ["trained with noise"]),
        "Accuracy of the best purifier in front of the unchanged classifier, less that of a "
        "classifier trained with noise for as many steps, which needs no denoiser.",
        {
            "supported": "Yes: the best purifier beats a classifier trained with noise.",
            "not supported": "No: on 8 × 8 digits a classifier trained with noise is as good.",
            "inconclusive": "Undecided: purifier and a classifier trained with noise are close.",
            "depends": "A purifier beats training with noise",
        },
        on_images(images or {}, ways, ["trained with noise"]),
    )


def guidance(race: Results) -> Claim:
    """The entropy's gradient adds something to sampling, at equal calls."""
    return _better(
        "adaptation-guidance",
        differences(race, noises(race) + corruptions(race), ["guided"], ["sampled"]),
        "Accuracy with the gradient of the classifier's marginal entropy, less that of plain "
        "sampling at as many calls. Guidance tried twice as many settings.",
        {
            "supported": "Yes: entropy guidance gains a point over plain sampling.",
            "not supported": "No: entropy guidance gains no point over plain sampling.",
            "inconclusive": "Undecided: entropy guidance may gain a point over plain sampling.",
            "depends": "Entropy guidance helps",
        },
    )


def consistently(race: Results) -> Claim:
    """Guidance is better than every other purifier of an unchanged classifier."""
    return _better(
        "adaptation-consistently",
        differences(race, noises(race) + corruptions(race), ["guided"], UNTUNED),
        "Accuracy with entropy guidance, less that of the best of one call, sampling and the mean "
        "over samples, at no more calls.",
        {
            "supported": "Yes: entropy guidance beats the other purifiers on every corruption.",
            "not supported": "No: entropy guidance is no better than the best purifier without it.",
            "inconclusive": "Undecided: entropy guidance and the best other purifier are close.",
            "depends": "Guidance beats the other purifiers",
        },
    )


def kinds(race: Results, images: Mapping[str, Results] | None = None) -> Claim:
    """Guidance helps with corruptions that are no noise."""
    return _better(
        "adaptation-kinds",
        differences(race, corruptions(race), ["guided"], ["nothing"]),
        "Accuracy with entropy guidance, less that with nothing in front.",
        {
            "supported": "Yes: guided sampling helps with blur, contrast and pixelation.",
            "not supported": "No: on 8 × 8 digits guided sampling gains no point on blur, "
            "contrast, pixelation.",
            "inconclusive": "Undecided: guided sampling may help with blur, contrast, pixelation.",
            "depends": "Guided sampling helps",
        },
        on_images(images or {}, ["guided"], ["nothing"], noisy=False),
    )


def benchmarks() -> Claim:
    """The numbers on ImageNet-C and its like."""
    return Claim(
        "adaptation-imagenet",
        "not tested",
        "It needs ImageNet, its corrupted versions, a diffusion model of it and CLIP. Our images "
        "are 8 x 8 digits, and MNIST and CIFAR-10 where there is a record.",
        answer="Not tested: it needs ImageNet and a diffusion model of it.",
    )


def unaligned(race: Results) -> Claim:
    """What purified images lose is regained by training on them: they were only unaligned."""
    return _better(
        "adaptation-unaligned",
        differences(race, ["none", *noises(race)], ["tuned, sampled"], ["sampled"]),
        "Accuracy of the classifier trained on purified images, less that of the one that was not, "
        "on the same purified images. 'none': clean images through noise and back.",
        {
            "supported": "Yes: retrained on purified images a classifier reads them better.",
            "not supported": "No: a classifier retrained on purified images reads them no better.",
            "inconclusive": "Undecided: retraining on purified images may gain a point.",
            "depends": "Retraining on purified images helps",
        },
    )


def tuned(race: Results) -> Claim:
    """Training on purified images beats all purifiers of an unchanged classifier."""
    return _better(
        "adaptation-fine-tune",
        differences(race, noises(race) + corruptions(race), TUNED, (*UNTUNED, "guided")),
        "Accuracy with a classifier retrained on purified images, the better of two, less that of "
        "the best purifier in front of the unchanged one.",
        {
            "supported": "Yes: retraining on purified images beats purifying only.",
            "not supported": "No: retraining on purified images gains nothing over purifying only.",
            "inconclusive": "Undecided: retraining on purified images may gain a point.",
            "depends": "Retraining on purified images pays",
        },
    )


def tuned_rival(race: Results) -> Claim:
    """Training on purified images beats training on noisy ones."""
    return _better(
        "adaptation-fine-tune-rival",
        differences(race, noises(race) + corruptions(race), TUNED, ["trained with noise"]),
        "Accuracy with a classifier retrained on purified images, less that of one that was "
        "retrained on noisy images, for as many steps and without a denoiser.",
        {
            "supported": "Yes: training on purified images beats training on noisy ones.",
            "not supported": "No: training on noisy images does as well as on purified ones.",
            "inconclusive": "Undecided: training on purified or noisy images are close.",
            "depends": "Purified training images beat noisy ones",
        },
    )


# --- what the rules share ------------------------------------------------------------------------


def _better(
    name: str,
    found: Mapping[str, Interval],
    what: str,
    answers: Mapping[str, str],
    beside: str = "",
) -> Claim:
    """Judge 'a point better' under each condition, and all together."""
    each = judged(found)
    verdict = combine(each.values())
    return _claim(
        name,
        verdict,
        f"{what} {told(found, verdict)} Better means {100 * POINT:g} point or more.{beside}",
        answer(each, answers),
        deciding(found, each),
    )


def _claim(name: str, verdict: str, evidence: str, plain: str, decides: Interval) -> Claim:
    """Make a claim; the number that decides is shown in percentage points."""
    mean, low, high = (100 * value for value in decides[:3])
    return Claim(
        name,
        verdict,
        f"{evidence} Intervals hold together. {SEEDS}",
        answer=plain,
        interval=Interval(mean, low, high, decides.n),
        seeds=decides.n,
        data="8 × 8 digits",
        figure="fig-ad-race",
    )
