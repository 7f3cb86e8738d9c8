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

DIGIT_SEED = (
    "A seed has its own noise in the data, first weights, batches and samples; training and test "
    "digits are the same for all."
)
MEMORY_SEED = "A seed has its own digits, noise in the data, first weights and batches."


def remember(memory: Results) -> Claim:
    """Training digits come back nearer than held-out ones, out of every extreme noise."""
    ratios = memory_ratios(memory, CLEAN)
    found = {s: decide(ratio, BETTER, reference=1) for s, ratio in ratios.items()}
    verdict = combine(found.values())
    told = ", ".join(f"{s:g}" for s, v in found.items() if v == "supported")
    answers = {
        "supported": "Yes: training digits come back nearer than held-out digits.",
        "depends": f"Out of noise of {told} only.",
        "not supported": "No: training digits come back no nearer than held-out digits.",
        "inconclusive": "Undecided: training digits may come back nearer than held-out ones.",
    }
    first = memory.settings["extreme"][0]
    share = memory.values(measure="share found", method=CLEAN, sigma=first).mean()
    return Claim(
        "tweedie-remember",
        verdict,
        f"Distance of what comes back, training digits over held-out ones: {_by_noise(ratios)}. "
        f"Trained on {memory.settings['digits']} clean digits; out of noise of {first:g} the "
        f"original is the nearest for {share:.0%}. {MEMORY_SEED}"
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
        "depends": f"Out of noise of {told} only.",
        "not supported": f"No: of {digits} training digits networks this small recall only a part.",
        "inconclusive": "Undecided: training digits may come back almost perfectly.",
    }
    return Claim(
        "tweedie-memorise",
        verdict,
        f"Distance of what comes back, training digits over held-out ones: {_by_noise(ratios)}. "
        f"'Almost perfectly' is a third or less here. So it is for {digits} digits and this length "
        f"of training; longer training and larger networks may recall more. {MEMORY_SEED}"
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
        "supported": "Yes: trained on noisy digits it remembers less.",
        "not supported": "No: trained on noisy digits it remembers as much.",
        "inconclusive": "Undecided: trained on noisy digits it may remember less.",
    }
    return Claim(
        "tweedie-less-memory",
        verdict,
        f"Change of the gap between training and held-out digits, as a share of the distance of "
        f"held-out ones: {change:.2f}, out of noise of {memory.settings['extreme'][0]:g}. What was "
        f"never seen clean cannot be known by heart. {MEMORY_SEED}"
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
        "supported": "Yes: on new digits it is no worse than clean training.",
        "not supported": f"No: with {digits} digits its errors on new digits are larger.",
        "inconclusive": "Undecided: on new digits its errors may be larger.",
    }
    return Claim(
        "tweedie-competitive",
        verdict,
        f"Error on new digits at s_n, trained on {digits} noisy digits over trained on the same "
        f"digits clean: {price:.2f}, {EQUAL_COST}. The paper fine-tunes a large network instead. "
        f"{MEMORY_SEED}" + doubt([price], verdict, WORSE),
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
        "supported": "Yes: on noisy digits its samples are better than naive training's.",
        "not supported": "No: on noisy digits its samples are no better than naive training's.",
        "inconclusive": "Undecided: on noisy digits its samples may beat naive training's.",
    }
    peers = {NAIVE: " naive's", AMBIENT: " ambient only's", CLEAN: " clean training's"}
    on_images = in_words(images, "Frechet distance", peers)
    return Claim(
        "tweedie-outperform",
        verdict,
        f"Frechet distance to test digits over that of training on noisy 8 x 8 digits as if they "
        f"were clean: {ratios[NAIVE]:.2f}, {EQUAL_COST}. Over that of the ambient loss only it is "
        f"{ratios[AMBIENT]:.2f}, over that of clean training {ratios[CLEAN]:.2f}. {DIGIT_SEED} "
        + (f"With U-Nets: {on_images}." if on_images else "Larger images are not yet recorded.")
        + doubt([ratios[NAIVE]], verdict, BETTER, len(ratios)),
        answer=answers[verdict],
        interval=ratios[NAIVE],
        seeds=seeds_of(digits),
        data="digits, ratio of Frechet distances",
        figure="fig-tw-digits",
    )


def outperform_range(digits: Results, images: Told) -> Claim:
    """The same on every image set and noise that there is; one set is no range."""
    ratios = image_ratios(digits, images, NAIVE)
    if len(ratios) < 2:
        return Claim(
            "tweedie-outperform-range",
            "not tested",
            "Records of larger images are missing, and digits alone are no range of tasks.",
            answer="Not tested: only 8 x 8 digits are there.",
        )
    found = {
        name: "inconclusive" if ratio is None else decide(ratio, BETTER, reference=1)
        for name, ratio in ratios.items()
    }
    verdict = combine(found.values())
    answers = {
        "supported": "Yes: on all noisy images that were tried.",
        "depends": but(found, "On some images and noises, not on others."),
        "not supported": "No: on none of the noisy images that were tried.",
        "inconclusive": "Undecided: not on every image set and noise with certainty.",
    }
    listed = "; ".join(
        f"{name}: {'a training failed' if r is None else format(r, '.2f')} ({found[name]})"
        for name, r in ratios.items()
    )
    return Claim(
        "tweedie-outperform-range",
        verdict,
        f"Frechet distance to test images over that of training on noisy images as if they were "
        f"clean: {listed}. On clean images the two are the same method. On images a seed has its "
        f"own first weights, noise and samples; training and test images are the same for all."
        + doubt([r for r in ratios.values() if r is not None], verdict, BETTER, len(ratios)),
        answer=answers[verdict],
        data="noisy digits and images, ratios of Frechet distances",
        figure="fig-tw-images",
    )


def _by_noise(ratios: Mapping[float, Interval]) -> str:
    return ", ".join(f"{ratio:.2f} out of noise of {s:g}" for s, ratio in ratios.items())
