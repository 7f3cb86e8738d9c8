"""What chapter 2 concludes on digits and images: one rule a claim."""

from __future__ import annotations

from collections.abc import Mapping

from companion.experiments.claims import Claim
from companion.experiments.results import Results
from companion.experiments.tweedie.comparisons import (
    digit_frechet_ratios,
    image_ratios,
    in_words,
    memory_gap,
    memory_ratios,
    new_digit_ratio,
)
from companion.experiments.tweedie.grading import (
    BETTER,
    EQUAL_COST,
    WORSE,
    Told,
    but,
    doubt,
    flipped,
    seeds_of,
    within,
)
from companion.experiments.tweedie.methods import AMBIENT, CLEAN, CONSISTENCY, NAIVE
from companion.statistics import Interval, combine, decide, paired_difference

GAP = 0.05
"""Change of the memory gap that counts: 5 points of the distance of held-out digits."""
ALMOST_PERFECT = 1 / 3
"""Share of the distance of held-out digits below which training digits come back almost perfect."""


def remember(memory: Results) -> Claim:
    """Training digits come back nearer than held-out ones, out of every extreme noise."""
    ratios = memory_ratios(memory, CLEAN)
    found = {s: decide(ratio, BETTER, reference=1) for s, ratio in ratios.items()}
    verdict = combine(found.values())
    told = ", ".join(f"{s:g}" for s, v in found.items() if v == "supported")
    answers = {
        "supported": "Yes: a small network restores its few training digits better than new ones.",
        "depends": f"Training digits are restored better only out of noise of {told}.",
        "not supported": "No: a small network restores training digits no better than new ones.",
        "inconclusive": "Undecided: a small network may restore its training digits better.",
    }
    first = memory.settings["extreme"][0]
    share = memory.values(measure="share found", method=CLEAN, sigma=first).mean()
    return Claim(
        "tweedie-remember",
        verdict,
        f"Ratio of distances from the original, training digits over held-out ones: "
        f"{_by_noise(ratios)}. Trained on {memory.settings['digits']} clean digits. Out of noise "
        f"of {first:g} the original is the nearest training digit for {share:.0%}."
        + doubt(ratios.values(), verdict, BETTER, len(ratios)),
        answer=answers[verdict],
        interval=ratios[first],
        seeds=seeds_of(memory),
        data=f"digits, ratio of distances from noise of {first:g}",
        figure="fig-tw-memory",
    )


def memorise(memory: Results) -> Claim:
    """Training digits come back almost perfectly, out of every extreme noise."""
    ratios = memory_ratios(memory, CLEAN)
    found = {s: within(ratio, ALMOST_PERFECT) for s, ratio in ratios.items()}
    verdict = combine(found.values())
    told = ", ".join(f"{s:g}" for s, v in found.items() if v == "supported")
    digits, first = memory.settings["digits"], memory.settings["extreme"][0]
    answers = {
        "supported": "Yes: training digits come back almost perfectly out of extreme noise.",
        "depends": f"Training digits come back almost perfectly only out of noise of {told}.",
        "not supported": f"No: small networks restore their {digits} training digits only in part.",
        "inconclusive": "Undecided: training digits may come back almost perfectly.",
    }
    return Claim(
        "tweedie-memorise",
        verdict,
        f"Ratio of distances from the original, training digits over held-out ones: "
        f"{_by_noise(ratios)}. 'Almost perfectly' means a third or less here. Longer training and "
        f"larger networks may recall more."
        + doubt(ratios.values(), verdict, ALMOST_PERFECT, len(ratios)),
        answer=answers[verdict],
        interval=ratios[first],
        seeds=seeds_of(memory),
        data=f"digits, ratio of distances from noise of {first:g}",
        figure="fig-tw-memory",
    )


def less_memory(memory: Results) -> Claim:
    """Trained on noisy digits, the gap between training and held-out digits is smaller."""
    change = paired_difference(memory_gap(memory, CONSISTENCY), memory_gap(memory, CLEAN))
    verdict = decide(change, -GAP)
    answers = {
        "supported": "Yes: trained on noisy digits, a network remembers its training digits less.",
        "not supported": "No: trained on noisy digits, a network remembers them as well.",
        "inconclusive": "Undecided: trained on noisy digits, a network may remember them less.",
    }
    return Claim(
        "tweedie-less-memory",
        verdict,
        f"The memory gap is how much nearer training digits come back than held-out ones, as a "
        f"share of the distance of the latter. Trained on noisy instead of clean digits it changes "
        f"by {change:.2f}, out of noise of {memory.settings['extreme'][0]:g}."
        + doubt([change], verdict, -GAP, ratio=False),
        answer=answers[verdict],
        interval=change,
        seeds=seeds_of(memory),
        data="digits, change of the relative gap",
        figure="fig-tw-memory",
    )


def competitive(memory: Results) -> Claim:
    """Trained on noisy digits it is no worse on new digits than trained on clean ones."""
    price, digits = new_digit_ratio(memory), memory.settings["digits"]
    verdict = flipped(decide(price, WORSE, reference=1))
    answers = {
        "supported": "Yes: trained on noisy digits it is no worse on new digits.",
        "not supported": f"No: trained on {digits} noisy digits, its errors on new digits are "
        "larger.",
        "inconclusive": "Undecided: trained on noisy digits, errors on new digits may be larger.",
    }
    return Claim(
        "tweedie-competitive",
        verdict,
        f"Ratio of errors on new digits, trained on {digits} noisy digits over the same digits "
        f"clean: {price:.2f}, {EQUAL_COST}. The paper fine-tunes a large network instead."
        + doubt([price], verdict, WORSE),
        answer=answers[verdict],
        interval=price,
        seeds=seeds_of(memory),
        data="digits, ratio of errors",
        figure="fig-tw-memory",
    )


def outperform(digits: Results, images: Told) -> Claim:
    """On noisy digits its samples are nearer to the test digits than those of naive training."""
    ratios = digit_frechet_ratios(digits)
    verdict = decide(ratios[NAIVE], BETTER, reference=1)
    answers = {
        "supported": "Yes: from noisy digits it samples better than training that ignores the "
        "noise.",
        "not supported": "No: from noisy digits it samples no better than training that ignores "
        "noise.",
        "inconclusive": "Undecided: its samples may beat those of training that ignores the noise.",
    }
    peers = {NAIVE: " naive's", AMBIENT: " ambient only's", CLEAN: " clean training's"}
    on_images = in_words(images, "Frechet distance", peers)
    return Claim(
        "tweedie-outperform",
        verdict,
        f"Ratio of Frechet distances on 8 x 8 digits, consistency over naive training: "
        f"{ratios[NAIVE]:.2f}, {EQUAL_COST}; over ambient only {ratios[AMBIENT]:.2f}, over clean "
        f"training {ratios[CLEAN]:.2f}. "
        + (f"With U-Nets: {on_images}." if on_images else "Larger images are not yet recorded.")
        + doubt([ratios[NAIVE]], verdict, BETTER, len(ratios)),
        answer=answers[verdict],
        interval=ratios[NAIVE],
        seeds=seeds_of(digits),
        data="digits, ratio of Frechet distances",
        figure="fig-tw-images",
    )


def outperform_range(digits: Results, images: Told) -> Claim:
    """The same on every image set and noise that there is; one set is no range."""
    ratios = image_ratios(digits, images, NAIVE)
    if len(ratios) < 2:
        return Claim(
            "tweedie-outperform-range",
            "not tested",
            "Records of larger images are missing, and digits alone are no range of tasks.",
            answer="Not tested: there is no record of larger images than 8 x 8 digits.",
        )
    found = {
        name: "inconclusive" if ratio is None else decide(ratio, BETTER, reference=1)
        for name, ratio in ratios.items()
    }
    verdict = combine(found.values())
    answers = {
        "supported": "Yes: it beats training that ignores the noise on all images tried.",
        "depends": but(found, "It beats training that ignores the noise on some images only."),
        "not supported": "No: on no images tried does it beat training that ignores the noise.",
        "inconclusive": "Undecided: it may not beat training that ignores the noise on all images.",
    }
    listed = "; ".join(
        f"{name}: {'a training failed' if r is None else format(r, '.2f')} ({found[name]})"
        for name, r in ratios.items()
    )
    return Claim(
        "tweedie-outperform-range",
        verdict,
        f"Ratio of Frechet distances, consistency over naive training: {listed}. "
        + _of_naive(images)
        + "On clean images the two are the same method."
        + doubt([r for r in ratios.values() if r is not None], verdict, BETTER, len(ratios)),
        answer=answers[verdict],
        data="noisy digits and images, ratios of Frechet distances",
        figure="fig-tw-images",
    )


def _of_naive(records: Told) -> str:
    """Say whether naive training on images has searched settings; empty without records."""
    there = [record.facts.get("chosen", {}) for record in records.values() if record is not None]
    if not there:
        return ""
    if all(NAIVE in chosen for chosen in there):
        return "On images the settings of both were searched alike. "
    return "On images naive training keeps its default settings. "


def _by_noise(ratios: Mapping[float, Interval]) -> str:
    return ", ".join(f"{ratio:.2f} out of noise of {s:g}" for s, ratio in ratios.items())
