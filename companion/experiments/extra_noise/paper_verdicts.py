"""What chapter 1 concludes of the paper on input perturbation: one rule a claim."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from companion.experiments.claims import LONGEST_ANSWER, Claim
from companion.experiments.extra_noise.arms import FREE, TRAINED
from companion.experiments.extra_noise.chains import (
    EPS_ARMS,
    PLAIN,
    Condition,
    Conditions,
    bias_growth,
    image_effect,
    improvements,
    kept,
    lengths,
    perturbed,
    raw_growth,
)
from companion.experiments.extra_noise.effects import Effect, any_of, doubt, flipped
from companion.experiments.results import Results
from companion.statistics import combine

__all__ = [
    "accumulation",
    "beyond_relabelling",
    "celeba",
    "perturbation",
    "recall",
    "times",
]

Told = Mapping[str, Results | None]
"""Records of the image experiment by their titles."""
OPEN = "Undecided: on no chain do samples surely improve."


def accumulation(problems: Mapping[str, tuple[Results, Results]], images: Told) -> Claim:
    """The exposure bias, beyond that of an exact denoiser, grows with the chain on all problems.

    Parameters
    ----------
    problems : dict, name -> samples of networks, and those of the exact denoiser
    images : records
    """
    growth = {name: bias_growth(*results) for name, results in problems.items()}
    found = {name: effect.verdict for name, effect in growth.items()}
    verdict = combine(found.values())
    grows = " and ".join(name for name, v in found.items() if v == "supported")
    answers = {
        "supported": "Yes: the networks' own share of the exposure bias grows with the chain.",
        "depends": f"The networks' own share of the exposure bias grows on {grows} only.",
        "not supported": "No: the networks' own share of the exposure bias does not grow.",
        "inconclusive": "Undecided: the networks' own share of the exposure bias may grow.",
    }
    decides, effect = _deciding({(name, 0): [e] for name, e in growth.items()}, verdict)
    shortest, *_, longest = lengths(next(iter(problems.values()))[0])
    raw = "; ".join(f"{name} {raw_growth(results[0])}" for name, results in problems.items())
    exact = "; ".join(
        f"{name} {raw_growth(results[1], 'exact')}" for name, results in problems.items()
    )
    return Claim(
        "extra-accumulation",
        verdict,
        f"Size of the exposure bias beyond the exact denoiser's at the same levels, {longest} "
        f"steps minus {shortest}: {'; '.join(f'{n} {e}' for n, e in growth.items())}. Without that "
        f"comparison: {raw}. Of the exact denoiser, which makes no error: {exact}. "
        f"{on_images(images, image_growth)}" + doubt(effect, verdict),
        answer=answers[verdict],
        data=f"exposure bias in % of the norm, {decides[0]}",
        figure="fig-xn-exposure",
        **effect.claimed,
    )


def perturbation(problems: Mapping[str, Results], images: Told) -> Claim:
    """Input perturbation improves samples, on chains of every length and after any training.

    Parameters
    ----------
    problems : dict, name of a problem and its length of training -> samples
    images : records
    """
    plain, _ = improvements(problems)
    verdict = combine(any_of(effects) for effects in plain.values())
    answers = {
        "supported": "Yes: samples improve on every chain.",
        "depends": _only("Samples improve only on", plain, "Samples improve on some chains only."),
        "not supported": "No: samples improve on no chain, however long the training.",
        "inconclusive": _only("Samples surely improve only on", plain, OPEN),
    }
    (name, steps), effect = _deciding(plain, verdict)
    worse = f"; surely not {_where(plain, FAILS)}" if _places(plain, FAILS) else ""
    return Claim(
        "extra-perturbation",
        verdict,
        f"Distance of samples to the data against the plain network, {name}, {steps} steps: "
        f"{effect}. Better {_where(plain)}{worse}. Target ε, "
        f"{' and '.join(arm.size for arm in EPS_ARMS)}. {on_images(images, image_quality)}"
        + doubt(effect, verdict),
        answer=answers[verdict],
        data=f"distance in %, {name}, {steps} steps",
        figure="fig-xn-quality",
        **effect.claimed,
    )


def beyond_relabelling(problems: Mapping[str, Results], images: Told) -> Claim:
    """Training with input perturbation beats the plain network with its label and scale."""
    _, free = improvements(problems)
    verdict = combine(any_of(effects) for effects in free.values())
    answers = {
        "supported": "Yes: it beats relabelling an ordinary network, which needs no training.",
        "depends": _only(
            "It beats relabelling an ordinary network only on",
            free,
            "It beats relabelling an ordinary network on some chains only.",
        ),
        "not supported": "No: relabelling an ordinary network, without training, does as well.",
        "inconclusive": _only(
            "It surely beats relabelling an ordinary network only on",
            free,
            "Undecided: nowhere does it surely beat relabelling an ordinary network for free.",
        ),
    }
    (name, steps), effect = _deciding(free, verdict)
    return Claim(
        "extra-perturbation-free",
        verdict,
        f"Distance of samples to the data, trained with input perturbation against the plain "
        f"network with the same label and scale, {name}, {steps} steps: {effect}. Better "
        f"{_where(free)}. In distribution input perturbation is denoising at another level, "
        f"with noise on the labels. {on_images(images, image_free)}" + doubt(effect, verdict),
        answer=answers[verdict],
        data=f"distance in %, {name}, {steps} steps",
        figure="fig-xn-quality",
        **effect.claimed,
    )


def recall(problems: Mapping[str, Results], images: Told) -> Claim:
    """Neither precision nor recall falls, at any strength and after any training."""
    falls = kept(problems)
    verdict = combine(flipped(e.verdict) for effects in falls.values() for e in effects)
    fallen = " and ".join(name for (name, _), listed in falls.items() if any_of(listed) == HOLDS)
    answers = {
        "supported": "Yes: neither recall nor precision falls.",
        "depends": f"Not always: it lowers {fallen}.",
        "not supported": "No: recall and precision fall.",
        "inconclusive": "Undecided: recall or precision may fall.",
    }
    if len(answers["depends"].split()) > LONGEST_ANSWER:
        answers["depends"] = "Not always: in some cases recall or precision falls."
    (name, steps), effect = _deciding(falls, flipped(verdict))
    return Claim(
        "extra-recall",
        verdict,
        f"{name[0].upper()}{name[1:]}, {steps} steps, against the plain network: {effect}. "
        f"{on_images(images, image_recall)}" + doubt(effect, verdict),
        answer=answers[verdict],
        data=f"{name}, {steps} steps, points",
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

HOLDS, FAILS = "supported", "not supported"


def _deciding(conditions: Conditions, verdict: str) -> tuple[tuple[str, int], Effect]:
    """Return the effect that decides: the clearest where the claim holds, else the nearest to it.

    Only effects with that verdict count.
    """
    wanted = HOLDS if verdict == "depends" else verdict
    listed = [
        (place, effect)
        for place, effects in conditions.items()
        for effect in effects
        if effect.verdict == wanted
    ]
    return max(listed, key=lambda case: case[1].low if case[1].finite else -1e9)


def _places(conditions: Conditions, verdict: str) -> dict[str, list[int]]:
    """Lengths of the chain with a verdict, by problem."""
    found: dict[str, list[int]] = {}
    for (name, steps), effects in conditions.items():
        if any_of(effects) == verdict:
            found.setdefault(name, []).append(steps)
    return found


def _listed(places: Mapping[str, list[int]]) -> str:
    parts = []
    for name, steps in places.items():
        *most, last = map(str, steps)
        chains = f"{', '.join(most)} and {last}" if most else last
        parts.append(f"{name}, {chains} sampling steps")
    return "; ".join(parts)


def _where(conditions: Conditions, verdict: str = HOLDS) -> str:
    """Say on which problems and chains a claim has a verdict."""
    places = _places(conditions, verdict)
    return f"on {_listed(places)}" if places else "on no chain"


def _only(beginning: str, conditions: Conditions, otherwise: str) -> str:
    """Answer that names where a claim holds; ``otherwise`` if that is nowhere, or too long."""
    places = _places(conditions, HOLDS)
    answer = f"{beginning} {_listed(places)}."
    return answer if places and len(answer.split()) <= LONGEST_ANSWER else otherwise


def on_images(images: Told, text: Callable[[Results], str]) -> str:
    """Say what the records on images show, each in a sentence."""
    listed = [(title, r, text(r)) for title, r in images.items() if r is not None]
    lines = [f"{t}, {r.settings['seeds']} seeds: {words}." for t, r, words in listed if words]
    return " ".join(lines) or "On images: not yet recorded."


def image_growth(record: Results) -> str:
    """Say how the plain network's exposure bias grows with the chain."""
    shortest, *_, longest = lengths(record)
    return (
        f"{raw_growth(record)}, {longest} steps minus {shortest}, without the comparison with an "
        "exact denoiser"
    )


def image_quality(record: Results) -> str:
    """Compare input perturbation and its free rival with the plain network."""
    arm = perturbed(record)
    pairs = {
        "trained against plain": ((TRAINED, arm), PLAIN),
        "free against plain": ((FREE, arm), PLAIN),
    }
    parts = {n: _by_steps(record, "Frechet distance", *pair) for n, pair in pairs.items()}
    return "; ".join(f"{name}, {text}" for name, text in parts.items() if text)


def image_free(record: Results) -> str:
    """Compare input perturbation with its free rival."""
    arm = perturbed(record)
    text = _by_steps(record, "Frechet distance", (TRAINED, arm), (FREE, arm))
    return f"trained against free, {text}" if text else ""


def image_recall(record: Results) -> str:
    """Say what input perturbation changes of recall and of precision."""
    measures = ("recall", "precision")
    trained = TRAINED, perturbed(record)
    parts = {m: _by_steps(record, m, trained, PLAIN) for m in measures}
    return "; ".join(f"{measure} {text}" for measure, text in parts.items() if text)


def _by_steps(record: Results, measure: str, a: Condition, b: Condition) -> str:
    """Compare two conditions on the shortest chain; tables have the others."""
    steps = min(lengths(record))
    effect = image_effect(record, measure, a, b, {"steps": steps})
    return "" if effect is None else f"{effect} with {steps} steps"
