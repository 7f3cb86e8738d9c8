"""What chapter 1 concludes: one rule a claim. Those of the paper stand in ``paper_verdicts``.

Sentences of the chat-bot are judged over the kinds of noise in training and the conditions under
which each was tried. It is "depends" where they differ, and then the answer names those for which
it holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from companion.experiments.claims import LONGEST_ANSWER, Claim, Claims
from companion.experiments.extra_noise.arms import EXTRA, FREE, Arm
from companion.experiments.extra_noise.chains import EPS
from companion.experiments.extra_noise.digits import DigitNetworks
from companion.experiments.extra_noise.diversity import NoiseScale, OneLevelWalk
from companion.experiments.extra_noise.effects import doubt, strongest
from companion.experiments.extra_noise.errors import RIVALS, DigitErrors, RivalErrors
from companion.experiments.extra_noise.exact_digits import ExactDigits
from companion.experiments.extra_noise.images import ImageTrial
from companion.experiments.extra_noise.longer import LongerTraining
from companion.experiments.extra_noise.paper_verdicts import (
    accumulation,
    beyond_relabelling,
    celeba,
    perturbation,
    recall,
    times,
)
from companion.experiments.extra_noise.reasons import (
    AGAINST,
    FEW,
    IN_TRAINING,
    KINDS,
    Reason,
    augmentation,
    diversity,
    regularization,
    robustness,
    stability,
    worths,
)
from companion.experiments.extra_noise.ring import RingNetworks
from companion.experiments.extra_noise.robustness import DDIM, FarErrors, Outliers, Pushes
from companion.experiments.extra_noise.samples import DigitSamples, ExactSamples, RingSamples
from companion.experiments.extra_noise.stability import FailedRuns, GradientNoise
from companion.experiments.results import Results
from companion.experiments.session import Session

__all__ = ["Trial", "best_rival", "problems", "trial", "verdicts"]

NAMES = {
    "A": "many noise levels",
    "B x_0": "noisy inputs (target x₀)",
    "B eps": "noisy inputs (target ε)",
    "C": "noisy training data",
}
"""Kinds of noise in training, as answers call them."""
SHORT = {"A": "many levels", "B x_0": "noisy inputs", "B eps": "noisy inputs", "C": "noisy data"}
"""The same where the answer would be too long."""
UNITS = {"ratio": "%", "points": "points", "doublings": "doublings"}


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


def problems(session: Session) -> dict[str, Results]:
    """Return samples by the name of the problem and of its length of training."""
    longer = LongerTraining.steps // DigitNetworks.steps
    return {
        "the ring": session.run(RingSamples),
        "digits": session.run(DigitSamples),
        f"digits trained {longer} times as long": session.run(LongerTraining),
    }


def verdicts(session: Session) -> Claims:
    """Run what the claims rest on, or take it from memory, and apply all rules."""
    tried, errors, known = trial(session), session.run(DigitErrors), problems(session)
    exact = {"the ring": session.run(ExactSamples), "digits": session.run(ExactDigits)}
    images = session.records(ImageTrial)
    ring, digits = (session.run(e).settings["steps"] for e in (RingNetworks, DigitNetworks))
    return Claims(
        [
            regularizes(tried.regularization),
            explores(tried.diversity),
            makes_robust(tried.robustness),
            augments(tried.augmentation, errors),
            stabilizes(tried.stability),
            accumulation({name: (known[name], e) for name, e in exact.items()}, images),
            perturbation(known, images),
            beyond_relabelling(known, images),
            recall({n: r for n, r in known.items() if "digits" in n}, images),
            times(),
            celeba(),
        ]
    ).noted(f"Steps of training: {ring:,} (ring), {digits:,} (digits).")


def regularizes(reason: Reason) -> Claim:
    """Held-out errors fall, by more than the free rival's."""
    answers = {
        "supported": "Yes: every kind of noise in training lowers the held-out error.",
        "depends": "lower held-out errors",
        "not supported": "No: no kind of noise in training lowers the held-out error.",
        "inconclusive": "Undecided: no kind of noise surely lowers the held-out error.",
    }
    rival = best_rival(reason)
    free = strongest(reason.rivals[f"free B (ε), {FEW} digits"])
    return _claim(
        "extra-regularization",
        reason,
        "held-out error",
        answers,
        "B with target x₀ is ordinary training under another label. With the label and scale of B "
        f"with target ε, and no training at all, the plain network's error with {FEW} digits "
        f"changes by {free}. Best rival with {FEW} digits, {rival}: {reason.rivals[rival][0]}.",
        "fig-xn-fit",
    )


def explores(reason: Reason) -> Claim:
    """Samples become more diverse: balance of the modes, recall."""
    answers = {
        "supported": "Yes: every kind of noise in training makes samples more diverse.",
        "depends": "make samples more diverse",
        "not supported": "No: noise in training does not make samples more diverse.",
        "inconclusive": "Undecided: noise in training may make samples more diverse.",
    }
    effect, ddim = (
        strongest(reason.effects["D"][name])
        for name in ("balance, ring", f"balance, ring{AGAINST}{DDIM}")
    )
    return _claim(
        "extra-exploration",
        reason,
        "",
        answers,
        "Not in training, and not judged: balance of the modes with the noise of the sampler (D) "
        f"against none, {effect}; against DDIM, which has no noise and the right drift, {ddim}.",
        "fig-xn-diversity",
    )


def makes_robust(reason: Reason) -> Claim:
    """Imperfect data and pushes do less harm."""
    answers = {
        "supported": "Yes: every kind of noise in training makes samples robust.",
        "depends": "help against imperfections",
        "not supported": "No: noise in training helps against none of these imperfections.",
        "inconclusive": "Undecided: noise in training may help against these imperfections.",
    }
    return _claim(
        "extra-robustness",
        reason,
        "",
        answers,
        f"Samples astray after training on outliers: {_by_kind(reason, 'samples astray')}. The "
        f"rival, outliers filtered out before training: {reason.rivals['outliers filtered'][0]}.",
        "fig-xn-robust",
    )


def augments(reason: Reason, errors: Results) -> Claim:
    """Noisy digits are worth more clean ones, by more than the free rival's."""
    answers = {
        "supported": "Yes: with every kind of noise the digits are worth more clean ones.",
        "depends": "are worth extra data",
        "not supported": "No: with noise, digits are not worth more clean ones.",
        "inconclusive": "Undecided: with noise, digits may be worth more clean ones.",
    }
    c, free = reason.best("C", f"{FEW} digits"), worths(errors)[EPS, FEW, FREE].mean()
    clean = f"{2**c.interval.mean * FEW:.0f}" if c.finite else "an unknown number of"
    return _claim(
        "extra-augmentation",
        reason,
        "worth",
        answers,
        f"{FEW} digits with noise (C) are worth {clean} clean ones. Removing less noise with "
        f"the plain network, which augments nothing, is 'worth' {free:.0f}.",
        "fig-xn-worth",
    )


def stabilizes(reason: Reason) -> Claim:
    """Gradients are less noisy and fewer runs fail."""
    answers = {
        "supported": "Yes: gradients are less noisy and fewer runs fail, for every kind.",
        "depends": "make training steadier",
        "not supported": "No: neither gradients nor failed runs show it, for any kind.",
        "inconclusive": "Undecided: gradients may be less noisy, or fewer runs may fail.",
    }
    return _claim(
        "extra-stability",
        reason,
        "",
        answers,
        f"Rival, gradient clipping, failed runs: {reason.rivals['gradient clipping'][0]}. What the "
        "lecture showed is a collapse of samples without the noise of the sampler (D): true, and "
        "not about training.",
        "fig-xn-stability",
    )


# --- what several rules need ----------------------------------------------------------------------


def _claim(
    name: str, reason: Reason, measure: str, answers: Mapping[str, str], more: str, figure: str
) -> Claim:
    """Make the claim of a reason: the number that decides, with what it is of, comes first."""
    verdict = reason.of_training()
    kind, experiment, effect = reason.deciding()
    what = f"{measure}, {experiment}".removeprefix(", ")
    where = f"{what}, {KINDS[kind]}"
    partly = verdict == "depends" or (verdict == "inconclusive" and _holds(reason))
    return Claim(
        name,
        verdict,
        f"{where[0].upper()}{where[1:]}: {effect}. Holds for {said(reason)}. {more}"
        + doubt(effect, verdict),
        answer=only(answers["depends"], reason) if partly else answers[verdict],
        data=f"{where}, {UNITS[effect.unit]}",
        figure=figure,
        **effect.claimed,
    )


def _holds(reason: Reason) -> dict[str, list[str]]:
    """Conditions under which a reason holds, by kinds of noise in training for which it does."""
    found = {
        kind: [c for c, verdict in reason.conditions(kind).items() if verdict == "supported"]
        for kind in IN_TRAINING
    }
    return {kind: conditions for kind, conditions in found.items() if conditions}


def only(does: str, reason: Reason) -> str:
    """Say which noise does it, and under which conditions, if they are the same for all."""
    known = [v for kind in IN_TRAINING for v in reason.conditions(kind).values()]
    first = "For certain, only" if "inconclusive" in known else "Only"
    holds = _holds(reason)
    everywhere = all(len(where) == len(reason.conditions(kind)) for kind, where in holds.items())
    alike = {tuple(where) for where in holds.values()}
    under = f" ({' and '.join(next(iter(alike)))})" if len(alike) == 1 and not everywhere else ""
    for names in (NAMES, SHORT):
        *most, last = dict.fromkeys(names[kind] for kind in holds)
        listed = f"{', '.join(most)} and {last}" if most else last
        for answer in (f"{first} {listed} {does}{under}.", f"{first} {listed} {does}."):
            if len(answer.split()) <= LONGEST_ANSWER:
                return answer
    raise AssertionError(f"an answer of more than {LONGEST_ANSWER} words: {answer}")


def said(reason: Reason) -> str:
    """Say for which kinds of noise in training, and under which conditions, a reason holds."""
    parts = [f"{KINDS[kind]} ({'; '.join(where)})" for kind, where in _holds(reason).items()]
    return ", ".join(parts) or "no kind of noise in training"


def best_rival(reason: Reason) -> str:
    """Return the regularizer without extra noise that does best on few digits."""
    return max(RIVALS, key=lambda name: strongest([reason.rivals[name][0]]).low)


def _by_kind(reason: Reason, experiment: str) -> str:
    listed = dict.fromkeys(arm.kind for arm in EXTRA)
    return ", ".join(f"{Arm(kind)} {reason.best(kind, experiment)}" for kind in listed)
