"""What chapter 1 concludes: one rule a claim."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from companion.experiments.claims import Claim, Claims
from companion.experiments.extra_noise.arms import EXTRA, FREE, TRAINED, Arm
from companion.experiments.extra_noise.chains import (
    EPS,
    EPS_ARMS,
    PAPER,
    PLAIN,
    Condition,
    bias_growth,
    gains,
    image_effect,
    improves,
    lengths,
    versus_free,
)
from companion.experiments.extra_noise.diversity import NoiseScale, OneLevelWalk
from companion.experiments.extra_noise.effects import Effect, strongest
from companion.experiments.extra_noise.errors import RIVALS, DigitErrors, RivalErrors
from companion.experiments.extra_noise.images import ImageTrial
from companion.experiments.extra_noise.reasons import (
    FEW,
    Reason,
    augmentation,
    diversity,
    regularization,
    robustness,
    stability,
    worths,
)
from companion.experiments.extra_noise.robustness import FarErrors, Outliers, Pushes
from companion.experiments.extra_noise.samples import DigitSamples, RingSamples
from companion.experiments.extra_noise.stability import FailedRuns, GradientNoise
from companion.experiments.results import Results
from companion.experiments.session import Session
from companion.statistics import grade, grade_all

__all__ = ["Trial", "best_rival", "trial", "verdicts"]

IN_TRAINING = {
    "A": "many noise levels",
    "B x_0": "input noise (x₀)",
    "B eps": "input noise (ε)",
    "C": "noise on data",
}
"""Kinds of noise that take part in training: a sentence about training is judged by them."""

Told = Mapping[str, Results | None]
"""Records of the image experiment by their titles."""


@dataclass(frozen=True)
class Trial:
    """The five reasons, each with its effects."""

    regularization: Reason
    diversity: Reason
    robustness: Reason
    augmentation: Reason
    stability: Reason

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """The reasons in their order."""
        first = (self.regularization, self.diversity, self.robustness)
        return (*first, self.augmentation, self.stability)


def trial(session: Session) -> Trial:
    """Run what the five reasons rest on, or take it from memory."""
    errors = session.run(DigitErrors)
    return Trial(
        regularization(errors, session.run(RivalErrors)),
        diversity(*(session.run(e) for e in (RingSamples, DigitSamples, NoiseScale, OneLevelWalk))),
        robustness(*(session.run(e) for e in (Outliers, Pushes, FarErrors))),
        augmentation(errors),
        stability(session.run(GradientNoise), session.run(FailedRuns)),
    )


def verdicts(session: Session) -> Claims:
    """Run what the claims rest on, or take it from memory, and apply all rules."""
    tried, errors = trial(session), session.run(DigitErrors)
    ring, digits = session.run(RingSamples), session.run(DigitSamples)
    images = session.records(ImageTrial)
    return Claims(
        [
            regularizes(tried.regularization),
            explores(tried.diversity),
            makes_robust(tried.robustness),
            augments(tried.augmentation, errors),
            stabilizes(tried.stability),
            accumulation(ring, digits, images),
            perturbation(digits, images),
            recall(tried.diversity, digits, images),
            times(),
            celeba(),
        ]
    )


# --- the chat-bot ---------------------------------------------------------------------------------


def regularizes(reason: Reason) -> Claim:
    """Held-out errors fall, for every kind of noise in training."""
    verdict = of_training(reason)
    answers = {
        "supported": "Yes: every kind of noise in training lowers the held-out error.",
        "supported in part": in_part(reason),
        "not supported": "No: no kind of extra noise lowers the held-out error.",
    }
    effect, rival = reason.best("C", f"{FEW} digits"), best_rival(reason)
    free = strongest(reason.rivals[f"free B (ε), {FEW} digits"])
    return Claim(
        "extra-regularization",
        verdict,
        f"{said(reason)} Held-out error with {FEW} digits, C: {effect}. B with target x_0 is "
        "ordinary training under another label. With the label and scale of B with target ε, and "
        f"no training at all, the plain network's error changes by {free}. Best rival, {rival}: "
        f"{reason.rivals[rival][0]}.",
        answer=answers[verdict],
        data=f"held-out error in %, {FEW} digits, C",
        figure="fig-xn-fit",
        **effect.claimed,
    )


def explores(reason: Reason) -> Claim:
    """Samples become more diverse, for every kind of noise in training."""
    verdict = of_training(reason)
    answers = {
        "supported": "Yes: every kind of noise in training makes samples more diverse.",
        "supported in part": in_part(reason),
        "not supported": "No: noise in training does not make samples more diverse.",
    }
    effect, ddim = (
        strongest(reason.effects["D"][name]) for name in ("balance, ring", "balance against DDIM")
    )
    return Claim(
        "extra-exploration",
        verdict,
        f"{said(reason)} Balance of the modes with the noise of the sampler (D) against none: "
        f"{effect}. Against DDIM, which has no noise and the right drift: {ddim}.",
        answer=answers[verdict],
        data="balance of the modes in points, D: 1 against 0",
        figure="fig-xn-scan",
        **effect.claimed,
    )


def makes_robust(reason: Reason) -> Claim:
    """Imperfect data and pushes do less harm, for every kind of noise in training."""
    verdict = of_training(reason)
    answers = {
        "supported": "Yes: every kind of noise in training makes samples robust.",
        "supported in part": in_part(reason),
        "not supported": "No: noise in training helps against none of these imperfections.",
    }
    effect, far = reason.rivals["outliers filtered"][0], reason.best("A", "error far from the data")
    return Claim(
        "extra-robustness",
        verdict,
        f"{said(reason)} Samples astray after training on outliers: "
        f"{_by_kind(reason, 'samples astray')}; with the outliers filtered out: {effect}. Far from "
        f"the data the error of a network of many levels (A), against that of one level: {far}.",
        answer=answers[verdict],
        data="samples astray in %, outliers filtered (the rival)",
        figure="fig-xn-robust",
        **effect.claimed,
    )


def augments(reason: Reason, errors: Results) -> Claim:
    """Noisy digits are worth more clean ones, for every kind of noise in training."""
    verdict = of_training(reason)
    answers = {
        "supported": "Yes: with every kind of noise the digits are worth more clean ones.",
        "supported in part": in_part(reason),
        "not supported": "No: with noise, digits are not worth more clean ones.",
    }
    effect = reason.best("C", f"{FEW} digits")
    free = worths(errors)[EPS, FEW, FREE].mean()
    return Claim(
        "extra-augmentation",
        verdict,
        f"{said(reason)} {FEW} digits with noise (C) are worth {_clean(effect)} clean ones. "
        "Shrinking the answer of the plain network, which augments nothing, is 'worth' "
        f"{free:.0f}.",
        answer=answers[verdict],
        data=f"doublings of the data set, {FEW} digits, C",
        figure="fig-xn-worth",
        **effect.claimed,
    )


def stabilizes(reason: Reason) -> Claim:
    """Gradients are less noisy and fewer runs fail, for every kind of noise in training."""
    verdict = of_training(reason)
    answers = {
        "supported": "Yes: gradients are less noisy and fewer runs fail, for every kind.",
        "supported in part": in_part(reason),
        "not supported": "No: neither gradients nor failed runs show it, for any kind.",
    }
    effect, other = (reason.best(kind, "gradient noise scale") for kind in ("B eps", "C"))
    return Claim(
        "extra-stability",
        verdict,
        f"{said(reason)} Gradient noise scale, B (ε): {effect}; C: {other}. What the lecture "
        "showed is a collapse of samples without the noise of the sampler (D): true, and not about "
        "training.",
        answer=answers[verdict],
        data="gradient noise scale in %, B with target ε",
        figure="fig-xn-stability",
        **effect.claimed,
    )


# --- the paper ------------------------------------------------------------------------------------


def accumulation(ring: Results, digits: Results, images: Told) -> Claim:
    """The exposure bias grows from the shortest chain to the longest."""
    growth = {"ring": bias_growth(ring), "digits": bias_growth(digits)}
    verdict = grade_all(effect.holds for effect in growth.values())
    grows = [name for name, effect in growth.items() if effect.holds]
    answers = {
        "supported": "Yes: the longer the chain, the larger the exposure bias.",
        "supported in part": f"On {' and '.join(grows)} it grows with the chain; not elsewhere.",
        "not supported": "No: the exposure bias does not clearly grow with the chain.",
    }
    shortest, *_, longest = lengths(digits)
    return Claim(
        "extra-accumulation",
        verdict,
        f"Size of the exposure bias, {longest} steps against {shortest}: ring {growth['ring']}, "
        f"digits {growth['digits']}. Short chains have an error of their own, which an exact "
        f"denoiser shows too: their steps are long. {on_images(images, image_growth)}",
        answer=answers[verdict],
        data="exposure bias in %, digits",
        figure="fig-xn-exposure",
        **growth["digits"].claimed,
    )


def perturbation(digits: Results, images: Told) -> Claim:
    """Input perturbation improves samples, and does more than its label and scale do for free."""
    better, free = improves(digits, EPS_ARMS), improves(digits, [EPS], FREE)
    beats = [n for n, effect in versus_free(digits).items() if effect.holds]
    verdict = grade(bool(better and beats), bool(better))
    answers = {
        "supported": "Yes: it improves samples, by more than its relabelling does for free.",
        "supported in part": "It improves samples, but is not shown to beat free relabelling.",
        "not supported": "Simple, yes; at this scale training with it improved no samples.",
    }
    first = lengths(digits)[0]
    return Claim(
        "extra-perturbation",
        verdict,
        f"Simple it is. At this scale, on digits, it improves the Fréchet distance "
        f"{in_words(better)} (target ε, γ = 0.1 and 0.3); the label and scale of γ = 0.3 on the "
        f"plain network do {in_words(free)}; training with it beats that free rival "
        f"{in_words(beats)}. In distribution it is not a regularisation but denoising at another "
        f"level, with noise on the labels. {on_images(images, image_quality)}",
        answer=answers[verdict],
        data=f"Fréchet distance in %, digits, γ = 0.1, {first} steps",
        figure="fig-xn-quality",
        **gains(digits)[TRAINED, PAPER, first].claimed,
    )


def recall(reason: Reason, digits: Results, images: Told) -> Claim:
    """Input perturbation improves samples, and no strength lowers recall."""
    effects = reason.effects["B eps"]["recall, digits"]
    better = improves(digits, EPS_ARMS)
    kept = not any(e.high < 0 for e in effects) and all(e.finite for e in effects)
    verdict = grade(bool(kept and better), kept)
    answers = {
        "supported": "Yes: samples improve, and recall does not fall.",
        "supported in part": "Recall does not fall; but samples do not improve either.",
        "not supported": "No: recall falls.",
    }
    effect = strongest(effects)
    return Claim(
        "extra-recall",
        verdict,
        f"Recall on digits: {effect}. Quality improves {in_words(better)}. "
        f"{on_images(images, image_recall)}",
        answer=answers[verdict],
        data="recall in points, digits",
        figure="fig-xn-diversity",
        **effect.claimed,
    )


def times() -> Claim:
    """Training and inference take less time: not tested."""
    return Claim(
        "extra-times",
        "not tested",
        "All conditions are trained equally long here, and compared on chains of equal length.",
        answer="Not tested: everything is trained equally long and sampled with equal steps.",
    )


def celeba() -> Claim:
    """State of the art on CelebA: not tested."""
    return Claim(
        "extra-celeba",
        "not tested",
        "Not at this scale. The 37.5 % are 300 against 480 thousand steps, read off the curves in "
        "the official repository.",
        answer="Not tested: out of reach at this scale.",
    )


# --- what several rules need ----------------------------------------------------------------------


def of_training(reason: Reason) -> str:
    """Return the verdict over the kinds of noise in training: all, some, or none."""
    found = [reason.verdict(kind) for kind in IN_TRAINING]
    none = all(verdict == "not supported" for verdict in found)
    return grade(all(verdict == "supported" for verdict in found), not none)


def said(reason: Reason) -> str:
    """Say which kinds the reason holds for."""
    holds, partly = reason.kinds("supported"), reason.kinds("supported in part")
    return f"Holds for {', '.join(holds) or 'no kind'}; in part for {', '.join(partly) or 'none'}."


def in_part(reason: Reason) -> str:
    """Say by which kinds of noise in training the reason holds, at least in some experiments."""
    holds = [n for kind, n in IN_TRAINING.items() if reason.verdict(kind).startswith("supported")]
    return f"In part, by {', '.join(holds)}."


def best_rival(reason: Reason) -> str:
    """Return the regularizer without extra noise that does best on few digits."""
    return max(RIVALS, key=lambda name: strongest([reason.rivals[name][0]]).low)


def in_words(steps: Sequence[int]) -> str:
    """Return lengths of the chain as text."""
    return f"with {', '.join(map(str, steps))} steps" if steps else "on none of the chains"


def _clean(effect: Effect) -> str:
    return f"{2**effect.interval.mean * FEW:.0f}" if effect.finite else "an unknown number of"


def _by_kind(reason: Reason, experiment: str) -> str:
    kinds = dict.fromkeys(arm.kind for arm in EXTRA)
    return ", ".join(f"{Arm(kind)} {reason.best(kind, experiment)}" for kind in kinds)


def on_images(images: Told, text: Callable[[Results], str]) -> str:
    """Say what the records on images show, each in a sentence."""
    listed = [(title, r, text(r)) for title, r in images.items() if r is not None]
    lines = [f"{t}, {r.settings['seeds']} seeds: {words}." for t, r, words in listed if words]
    return " ".join(lines) or "On images: not yet recorded."


def image_growth(record: Results) -> str:
    """Say how the plain network's exposure bias grows with the chain."""
    shortest, *_, longest = lengths(record)
    return f"{bias_growth(record, 1)}, {longest} steps against {shortest}"


def image_quality(record: Results) -> str:
    """Compare input perturbation and its free rival with the plain network and each other."""
    trained, free = (TRAINED, PAPER), (FREE, PAPER)
    pairs = {
        "trained against plain": (trained, PLAIN),
        "free against plain": (free, PLAIN),
        "trained against free": (trained, free),
    }
    parts = {n: _by_steps(record, "Frechet distance", *pair) for n, pair in pairs.items()}
    return "; ".join(f"{name}, {text}" for name, text in parts.items() if text)


def image_recall(record: Results) -> str:
    """Say what input perturbation changes of recall."""
    text = _by_steps(record, "recall", (TRAINED, PAPER), PLAIN)
    return f"recall {text}" if text else ""


def _by_steps(record: Results, measure: str, a: Condition, b: Condition) -> str:
    effects = {n: image_effect(record, measure, a, b, {"steps": n}) for n in lengths(record)}
    return ", ".join(f"{e} with {n} steps" for n, e in effects.items() if e is not None)
