"""What chapter 2 concludes: one rule a claim."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from companion.experiments.claims import Claim, Claims
from companion.experiments.results import Results
from companion.experiments.session import Session
from companion.experiments.tweedie.comparisons import (
    digit_frechet_ratios,
    error_ratio,
    image_ratio,
    memory_gap,
    mismatch_ratios,
    new_digit_ratio,
    race_ratios,
    sweep_ratios,
)
from companion.experiments.tweedie.digits import Digits, Memory
from companion.experiments.tweedie.exact import GLUED, NAIVE_EXACT, Defects
from companion.experiments.tweedie.images import ImageRace
from companion.experiments.tweedie.methods import AMBIENT, CLEAN, CONSISTENCY, NAIVE, RIVALS, SURE
from companion.experiments.tweedie.mismatch import ASSUMED, Mismatch
from companion.experiments.tweedie.points import errors_of
from companion.experiments.tweedie.race import Race, Samples, Sweep
from companion.statistics import grade, mean_interval, paired_difference

SHORT_STEP = 0.9
"""Ratio of levels at which the defects of two denoisers are compared."""
CAUGHT = 0.1
"""Share of the defect of a wrong denoiser from which another counts as caught too."""
ALMOST_PERFECT = 1 / 3
"""Share of the distance of held-out digits below which training digits come back almost perfect."""

Told = Mapping[str, Results | None]
"""Records of the image experiment by their titles."""


def verdicts(session: Session) -> Claims:
    """Run what the claims rest on, or take it from memory, and apply all rules."""
    race, sweep, samples = (session.run(e) for e in (Race, Sweep, Samples))
    memory, images = session.run(Memory), session.records(ImageRace)
    return Claims(
        [
            distribution(),
            consistent_with_data(session.run(Defects)),
            below_noise(race, sweep, images),
            provable(samples),
            sure(race),
            robust(session.run(Mismatch), sweep),
            memorise(memory),
            less_memory(memory),
            outperform(session.run(Digits), images),
        ]
    )


def distribution() -> Claim:
    """The noise is modelled by the Tweedie distribution: by its definition it is not."""
    return Claim(
        "tweedie-distribution",
        "not supported",
        "The noise is Gaussian, and Tweedie's formula for it is used twice. The Gaussian is, "
        "formally, a member of the family of that name; the family has no part in the method or in "
        "its code. What other kinds of noise do is measured in the figure.",
        answer="No: the noise is Gaussian, and Tweedie's formula is something else.",
        figure="fig-tw-mismatch",
    )


def consistent_with_data(defects: Results) -> Claim:
    """Consistency compares with the noisy data: then the naive denoiser would be caught."""
    naive, glued = (defects.value(denoiser=name, ratio=SHORT_STEP) for name in (NAIVE_EXACT, GLUED))
    verdict = grade(False, naive >= CAUGHT * glued)
    answers = {
        "supported in part": "In part: a denoiser of the noisy data is not quite consistent.",
        "not supported": "No: it asks the network to agree with itself and sees no data.",
    }
    return Claim(
        "tweedie-consistent-with-data",
        verdict,
        f"Consistency asks the network to agree with itself and sees no data: the exact denoiser "
        f"of the noisy distribution, which is wrong everywhere, has a defect of {naive:.1g} where "
        f"one that is right at s_n and naive below has {glued:.1g}.",
        answer=answers[verdict],
        effect=naive,
        data="three modes, exact",
        figure="fig-tw-defect",
    )


def below_noise(race: Results, sweep: Results, images: Told) -> Claim:
    """The answer below s_n is better than that of every rival, at all noises and sizes."""
    ratios, swept = race_ratios(race), sweep_ratios(sweep)
    better = {s: [ratios[m, s].below(1) for m in RIVALS] for s in ("below", "geometric")}
    own = mean_interval(errors_of(race, method=CONSISTENCY).below)
    apart = [own.high < mean_interval(errors_of(race, method=m).below).low for m in RIVALS]
    settings = {
        s: [ratio.below(1) for (_, _, what), ratio in swept.items() if what == s] for s in better
    }
    wins = all(map(all, better.values())) and all(apart)
    verdict = grade(wins and all(settings["geometric"]), any(better["geometric"]))
    rivals = "every rival" if wins else "some rivals"
    answers = {
        "supported": "Yes: below the noise of the data it beats every rival.",
        "supported in part": f"It beats {rivals} there, but not at all noises and sizes.",
        "not supported": "No: below the noise of the data it beats no rival.",
    }
    against = {s: ratios[AMBIENT, s] for s in ("below", "geometric", "at")}
    s_n, points = max(k[0] for k in swept), race.settings["points"]
    on_images = in_words(images, "error", {AMBIENT: ""})
    return Claim(
        "tweedie-below-noise",
        verdict,
        f"Error below s_n of ambient with consistency over ambient only: {against['below']:.2f} "
        f"(rms over levels), {against['geometric']:.2f} (geometric mean); at s_n "
        f"{against['at']:.2f}. It is better than {sum(better['below'])} (rms) and "
        f"{sum(better['geometric'])} (geometric) of {len(RIVALS)} rivals; intervals apart from "
        f"{sum(apart)}. Trained half as long, over noises and sizes, it beats ambient only in "
        f"{sum(settings['below'])} (rms) and {sum(settings['geometric'])} (geometric) of "
        f"{len(settings['below'])} settings; with noise of half the distance between modes the "
        f"ratio is {swept[s_n, points, 'geometric']:.2f}."
        + (f" On images, error at s_n / 2 over ambient only: {on_images}." if on_images else ""),
        answer=answers[verdict],
        interval=against["below"],
        seeds=_seeds(race),
        data="three modes, error over ambient only's",
        figure="fig-tw-race",
    )


def provable(samples: Results) -> Claim:
    """Samples have the width of the clean modes."""
    width = {
        m: mean_interval(samples.values(measure="width", method=m))
        for m in (CONSISTENCY, AMBIENT, NAIVE, CLEAN)
    }
    own = width[CONSISTENCY]
    verdict = grade(not own.excludes(1), own.high < width[NAIVE].low)
    answers = {
        "supported": "Yes: trained on noisy data, it samples modes of the true width.",
        "supported in part": "In theory; trained networks sample modes that are somewhat too wide.",
        "not supported": "In theory only: trained networks sample modes as wide as naive ones.",
    }
    return Claim(
        "tweedie-provable",
        verdict,
        f"The identities hold exactly (tests). A trained network has an error at s_n, and "
        f"consistency hands it down: sampled modes are {own:.2f} times as wide as the true ones, "
        f"with ambient only {width[AMBIENT]:.2f}, naive {width[NAIVE]:.2f}, trained on clean data "
        f"{width[CLEAN]:.2f}. 'First' is not tested.",
        answer=answers[verdict],
        interval=own,
        seeds=_seeds(samples),
        data="three modes, width of the sampled modes",
        figure="fig-tw-samples",
    )


def sure(race: Results) -> Claim:
    """SURE is an approximation that costs performance: exact it is, so at most the second."""
    at, above = (
        error_ratio(race, {"method": SURE}, {"method": AMBIENT}, s) for s in ("at", "above")
    )
    verdict = grade(False, at.above(1) or above.above(1))
    answers = {
        "supported in part": "Worse at equal cost, but by its variance, not by an approximation.",
        "not supported": "No: SURE is exact, and at equal cost no worse.",
    }
    return Claim(
        "tweedie-sure",
        verdict,
        f"SURE is exact at every level that double Tweedie reaches, and its weight does not vanish "
        f"at s_n. With the noise of one random direction and at equal evaluations its error is "
        f"{at:.2f} times that of the ambient loss at s_n, and {above:.2f} above. Whatever the "
        f"difference, it is one of variance, not of approximation. Published systems were not "
        f"rerun.",
        answer=answers[verdict],
        interval=at,
        seeds=_seeds(race),
        data="three modes, error at s_n over ambient's",
        figure="fig-tw-race",
    )


def robust(mismatch: Results, sweep: Results) -> Claim:
    """Better than both peers under every kind of noise, and at every noise and size."""
    ratios = {k: v for k, v in mismatch_ratios(mismatch).items() if k[0] != ASSUMED}
    better = [ratio.below(1) for ratio in ratios.values()]
    swept = [r.below(1) for (_, _, what), r in sweep_ratios(sweep).items() if what == "geometric"]
    verdict = grade(all(better) and all(swept), any(better))
    answers = {
        "supported": "Yes: better under every noise that was tried.",
        "supported in part": "Mostly: it gains under most noises, but not at all levels or kinds.",
        "not supported": "No: under other noise it gains nothing with certainty.",
    }
    listed = "; ".join(
        f"{kind}: {ratios[kind, AMBIENT].mean:.2f}, {ratios[kind, NAIVE].mean:.2f}"
        for kind in dict.fromkeys(kind for kind, _ in ratios)
    )
    return Claim(
        "tweedie-robust",
        verdict,
        f"Nothing in the theory covers other noise. Error below s_n (geometric mean) over ambient "
        f"only, and over naive: {listed}. Better with certainty in {sum(better)} of {len(better)} "
        f"comparisons.",
        answer=answers[verdict],
        seeds=_seeds(mismatch),
        data="three modes",
        figure="fig-tw-mismatch",
    )


def memorise(memory: Results) -> Claim:
    """Training digits come back out of extreme noise almost perfectly, held-out ones do not."""
    sigma, digits = memory.settings["extreme"][0], memory.settings["digits"]
    where = {"method": CLEAN, "sigma": sigma}
    train, test = (
        mean_interval(memory.values(measure="distance", images=i, **where))
        for i in ("train", "test")
    )
    gap = memory_gap(memory, CLEAN)
    found = float(memory.values(measure="share found", **where).mean())
    verdict = grade(
        train.high < ALMOST_PERFECT * test.low, float(gap.min()) > 0 and train.high < test.low
    )
    answers = {
        "supported": "Yes: training digits come back almost perfectly out of extreme noise.",
        "supported in part": "They remember: training digits come back nearer, but not perfectly.",
        "not supported": "No: training digits come back no nearer than held-out ones.",
    }
    return Claim(
        "tweedie-memorise",
        verdict,
        f"{digits} digits, from noise of {sigma:g}: training digits come back {train:.2f} off, "
        f"held-out digits {test:.2f}; the original is found for {found:.0%}. 'Almost perfectly' "
        f"would be a third of the held-out distance or less.",
        answer=answers[verdict],
        effect=float(gap.mean()),
        seeds=_seeds(memory),
        data="digits, relative gap",
        figure="fig-tw-memory",
    )


def less_memory(memory: Results) -> Claim:
    """Trained on noisy digits it remembers less, and is no worse on new ones."""
    change = paired_difference(memory_gap(memory, CONSISTENCY), memory_gap(memory, CLEAN))
    price = new_digit_ratio(memory)
    verdict = grade(change.below(0) and price.low <= 1, change.below(0))
    answers = {
        "supported": "Yes: it remembers less, and is no worse on new digits.",
        "supported in part": "It remembers less, but has larger errors on new digits.",
        "not supported": "No: it does not remember less with certainty.",
    }
    return Claim(
        "tweedie-less-memory",
        verdict,
        f"The gap between training and held-out digits changes by {change:.2f}, and what was never "
        f"seen clean cannot be known by heart. The price at equal n: on new digits the error at "
        f"s_n is {price:.2f} times that of clean training.",
        answer=answers[verdict],
        interval=change,
        seeds=_seeds(memory),
        data=f"{memory.settings['digits']} digits",
        figure="fig-tw-memory",
    )


def outperform(digits: Results, images: Told) -> Claim:
    """Better samples than standard training: on noisy data perhaps, on clean data not tested."""
    ratios = digit_frechet_ratios(digits)
    verdict = grade(False, ratios[NAIVE].below(1))
    answers = {
        "supported in part": "On noisy digits better than naive training; no range of tasks.",
        "not supported": "No: its samples of noisy digits are not better than naive ones.",
    }
    peers = {NAIVE: " naive's", AMBIENT: " ambient only's", CLEAN: " clean training's"}
    on_images = in_words(images, "Frechet distance", peers)
    return Claim(
        "tweedie-outperform",
        verdict,
        f"On noisy 8 x 8 digits the Frechet distance is {ratios[NAIVE]:.2f} times that of training "
        f"on them as if clean, {ratios[AMBIENT]:.2f} times that of the ambient loss only, and "
        f"{ratios[CLEAN]:.2f} times that of a network which had clean digits. "
        + (f"With U-Nets it is, over seeds: {on_images}." if on_images else "")
        + ("" if on_images else "Larger images are not yet recorded."),
        answer=answers[verdict],
        interval=ratios[NAIVE],
        seeds=_seeds(digits),
        data="digits, Frechet distance over naive's",
        figure="fig-tw-digits",
    )


# --- what several rules need ---------------------------------------------------------------------


def in_words(images: Told, measure: str, peers: Mapping[str, str]) -> str:
    """Ratios of consistency to its peers on all image records; empty without records."""
    return "; ".join(
        f"{title}, s_n = {s_n:g}: "
        + ", ".join(f"{image_ratio(r, measure, m, s_n)}{name}" for m, name in peers.items())
        for title, r in images.items()
        if r is not None
        for s_n in np.array(r.labels("noise"), dtype=float)
    )


def _seeds(results: Results) -> int:
    return int(results.table["seed"].nunique())
