"""What chapter 2 concludes: one rule a claim."""

from __future__ import annotations

from companion.experiments.claims import Claim, Claims
from companion.experiments.results import Results
from companion.experiments.session import Session
from companion.experiments.tweedie.comparisons import (
    PEERS,
    error_ratio,
    in_words,
    mismatch_ratios,
    place,
    race_ratios,
    sweep_ratios,
    width_ratio,
)
from companion.experiments.tweedie.digit_verdicts import (
    competitive,
    less_memory,
    memorise,
    outperform,
    outperform_range,
    remember,
)
from companion.experiments.tweedie.digits import Digits, Memory
from companion.experiments.tweedie.exact import GLUED, NAIVE_EXACT, Defects
from companion.experiments.tweedie.grading import (
    BETTER,
    EQUAL_COST,
    WORSE,
    Told,
    but,
    doubt,
    every,
    flipped,
    seeds_of,
)
from companion.experiments.tweedie.images import ImageRace
from companion.experiments.tweedie.methods import AMBIENT, CLEAN, CONSISTENCY, NAIVE, RIVALS, SURE
from companion.experiments.tweedie.mismatch import ASSUMED, SIGNAL, Mismatch
from companion.experiments.tweedie.race import Race, Samples, Sweep
from companion.statistics import combine, decide, mean_interval

SHORT_STEP = 0.9
"""Ratio of levels at which the defects of two denoisers are told."""

POINT_SEED = "A seed has its own data, noise in the data, first weights and batches."


def verdicts(session: Session) -> Claims:
    """Run what the claims rest on, or take it from memory, and apply all rules."""
    race, sweep, samples = (session.run(e) for e in (Race, Sweep, Samples))
    mismatch, defects = session.run(Mismatch), session.run(Defects)
    digits, memory = session.run(Digits), session.run(Memory)
    images = session.records(ImageRace)
    return Claims(
        [
            distribution(mismatch),
            consistent_with_data(samples, defects),
            below_noise(race, sweep, images),
            provable(),
            clean_samples(samples),
            sure(race),
            sure_approximation(),
            robust(mismatch),
            robust_levels(sweep),
            remember(memory),
            memorise(memory),
            less_memory(memory),
            competitive(memory),
            outperform(digits, images),
            outperform_range(digits, images),
        ]
    )


def distribution(mismatch: Results) -> Claim:
    """A method that models the Tweedie family bears noise whose size grows with the signal."""
    ratio = error_ratio(
        mismatch, {"kind": SIGNAL, "method": AMBIENT}, {"kind": ASSUMED, "method": AMBIENT}, "above"
    )
    verdict = flipped(decide(ratio, WORSE, reference=1))
    answers = {
        "supported": "Yes: noise that grows with the signal does not raise its error.",
        "not supported": "No: it models Gaussian noise; noise that grows with the signal raises "
        "its error.",
        "inconclusive": "Undecided: noise that grows with the signal may raise its error.",
    }
    return Claim(
        "tweedie-distribution",
        verdict,
        f"Error above s_n of the ambient loss, over that under the Gaussian noise that it assumes: "
        f"{ratio:.2f}, with noise whose variance grows with the signal. The variance of all other "
        f"members of the Tweedie family, such as Poisson, does so. The method and its code name "
        f"no member but the Gaussian. They use Tweedie's formula, which is another thing. "
        f"{POINT_SEED}" + doubt([ratio], verdict, WORSE),
        answer=answers[verdict],
        interval=ratio,
        seeds=seeds_of(mismatch),
        data="three modes, ratio of errors",
        figure="fig-tw-mismatch",
    )


def consistent_with_data(samples: Results, defects: Results) -> Claim:
    """With consistency, samples that are made noisy have a width nearer to the noisy data's."""
    ratio = width_ratio(samples, AMBIENT, "width with new noise")
    verdict = decide(ratio, BETTER, reference=1)
    answers = {
        "supported": "Yes: its samples, made noisy, are more like the noisy data.",
        "not supported": "No: it sees no data, and its samples fit them no better.",
        "inconclusive": "Undecided: its samples, made noisy, may be more like the noisy data.",
    }
    naive, glued = (defects.value(denoiser=name, ratio=SHORT_STEP) for name in (NAIVE_EXACT, GLUED))
    return Claim(
        "tweedie-consistent-with-data",
        verdict,
        f"Factor by which the width of samples with new noise is off that of noisy data, with "
        f"consistency over ambient only: {ratio:.2f}, {EQUAL_COST}. What asks "
        f"for agreement with the data is the ambient loss. Consistency asks the network to agree "
        f"with itself: the exact denoiser of the noisy data, wrong everywhere, has a defect of "
        f"{naive:.1g}, one that is naive below s_n only has {glued:.1g}. {POINT_SEED}"
        + doubt([ratio], verdict, BETTER),
        answer=answers[verdict],
        interval=ratio,
        seeds=seeds_of(samples),
        data="three modes, ratio of factors",
        figure="fig-tw-defect",
    )


def below_noise(race: Results, sweep: Results, images: Told) -> Claim:
    """Below s_n it is better than every rival, and in the sweep better than both peers."""
    ratios = race_ratios(race)
    own = {m: ratios[m, "geometric"] for m in RIVALS}
    raced = {m: decide(ratio, BETTER, reference=1) for m, ratio in own.items()}
    swept = _by_place(sweep)
    found = {"full training": every(raced.values()), **swept}
    verdict = combine(found.values())
    answers = {
        "supported": "Yes: below the noise of the data it beats every rival.",
        "depends": but(found, "Only in some settings of noise, number of data and training."),
        "not supported": "No: below the noise of the data it does not beat every rival.",
        "inconclusive": "Undecided: below the noise not every rival is beaten with certainty.",
    }
    told = "; ".join(f"{m}: {ratio:.2f}" for m, ratio in own.items())
    places = "; ".join(f"{name}: {v}" for name, v in swept.items())
    on_images = in_words(images, "error", {AMBIENT: ""})
    doubtful, number = list(own.values()), len(ratios)
    if found["full training"] != "inconclusive":
        doubtful = list(sweep_ratios(sweep).values())
        number = len(doubtful)
    return Claim(
        "tweedie-below-noise",
        verdict,
        f"Error below s_n (geometric mean over levels) over that of each rival, {EQUAL_COST}: "
        f"{told}. Trained half as long, against naive and ambient only: {places}. At s_n it pays: "
        f"{ratios[AMBIENT, 'at']:.2f} times the error of ambient only. {POINT_SEED}"
        + (f" On images, error at s_n / 2 over ambient only: {on_images}." if on_images else "")
        + doubt(doubtful, verdict, BETTER, number),
        answer=answers[verdict],
        interval=own[AMBIENT],
        seeds=seeds_of(race),
        data="three modes, ratio of errors to ambient only",
        figure="fig-tw-race",
    )


def provable() -> Claim:
    """The exact denoiser is the minimum of both losses together: tested, not measured."""
    return Claim(
        "tweedie-provable",
        "proved",
        "The clean denoiser is the minimum of the ambient loss above s_n, and both losses together "
        "have it at every level, in the limit of short steps. Networks need not reach the minimum: "
        "that is the next claim. 'First' is not tested.",
        answer="Yes, in theory: the exact minimum of both losses is the clean denoiser.",
        proof="tests/test_tweedie_equations.py::"
        "test_the_sum_of_both_losses_has_the_exact_denoiser_at_its_minimum",
        figure="fig-tw-gaussian",
    )


def clean_samples(samples: Results) -> Claim:
    """Trained networks sample modes whose width is no farther off than with clean data."""
    ratio = width_ratio(samples, CLEAN)
    verdict = flipped(decide(ratio, WORSE, reference=1))
    width = {
        m: mean_interval(samples.values(measure="width", method=m))
        for m in (CONSISTENCY, AMBIENT, NAIVE, CLEAN)
    }
    answers = {
        "supported": "Yes: the modes are as right in width as after clean training.",
        "not supported": "No: trained networks sample wider modes than clean training does.",
        "inconclusive": "Undecided: the modes may be as right as after clean training.",
    }
    return Claim(
        "tweedie-clean-samples",
        verdict,
        f"Factor by which the width of the sampled modes is off, over that of training on clean "
        f"data, {EQUAL_COST}: {ratio:.2f}. The width over the true one is "
        f"{width[CONSISTENCY]:.2f}, with ambient only {width[AMBIENT]:.2f}, naive "
        f"{width[NAIVE]:.2f}, clean {width[CLEAN]:.2f}. A trained "
        f"network has an error at s_n, and consistency hands it down. {POINT_SEED}"
        + doubt([ratio], verdict, WORSE),
        answer=answers[verdict],
        interval=ratio,
        seeds=seeds_of(samples),
        data="three modes, ratio of factors",
        figure="fig-tw-samples",
    )


def sure(race: Results) -> Claim:
    """At equal evaluations SURE is worse than the ambient loss, at s_n and above."""
    names = {"at": "at the noise of the data", "above": "above it"}
    ratios = {
        s: error_ratio(race, {"method": SURE}, {"method": AMBIENT}, s, len(names)) for s in names
    }
    found = {names[s]: decide(ratio, WORSE, reference=1) for s, ratio in ratios.items()}
    verdict = combine(found.values())
    worse = " and ".join(name for name, v in found.items() if v == "supported")
    answers = {
        "supported": "Yes, worse at equal cost; SURE is exact, but its estimate is noisier.",
        "depends": f"Worse at equal cost {worse} only.",
        "not supported": "No: at equal cost SURE is no worse.",
        "inconclusive": "Undecided: at equal cost SURE may be worse.",
    }
    return Claim(
        "tweedie-sure",
        verdict,
        f"Error of SURE over that of the ambient loss, at equal network evaluations: "
        f"{ratios['at']:.2f} at s_n, {ratios['above']:.2f} above. SURE has the noise of one random "
        f"direction, and half as many samples. {POINT_SEED}"
        + doubt(ratios.values(), verdict, WORSE, len(names)),
        answer=answers[verdict],
        interval=ratios["at"],
        seeds=seeds_of(race),
        data="three modes, ratio of errors at s_n",
        figure="fig-tw-race",
    )


def sure_approximation() -> Claim:
    """Published systems were not rerun."""
    return Claim(
        "tweedie-sure-approximation",
        "not tested",
        "The published systems were not rerun. The SURE of this chapter needs no approximation: a "
        "test holds its mean to the clean loss.",
        answer="Not tested; the SURE that runs here is exact on average.",
    )


def robust(mismatch: Results) -> Claim:
    """Better than both peers under every other kind of noise."""
    every_kind = mismatch_ratios(mismatch)
    ratios = {k: v for k, v in every_kind.items() if k[0] != ASSUMED}
    found = {
        kind: every(decide(ratios[kind, peer], BETTER, reference=1) for peer in PEERS)
        for kind in dict.fromkeys(kind for kind, _ in ratios)
    }
    verdict = combine(found.values())
    answers = {
        "supported": "Yes: it gains under every type of noise that was tried.",
        "depends": but(found, "Under some types of noise, not under others."),
        "not supported": "No: under no other type of noise does it beat both peers.",
        "inconclusive": "Undecided: the gain is not certain under every type of noise.",
    }
    listed = "; ".join(
        f"{kind}: {ratios[kind, AMBIENT]:.2f}, {ratios[kind, NAIVE]:.2f} ({v})"
        for kind, v in found.items()
    )
    return Claim(
        "tweedie-robust",
        verdict,
        f"Error below s_n (geometric mean over levels) over ambient only, and over naive, trained "
        f"half as long as in the race: {listed}. The theory covers none of these. {POINT_SEED}"
        + doubt(ratios.values(), verdict, BETTER, len(every_kind)),
        answer=answers[verdict],
        seeds=seeds_of(mismatch),
        data="three modes, ratios of errors",
        figure="fig-tw-mismatch",
    )


def robust_levels(sweep: Results) -> Claim:
    """Better than both peers at every noise of the data."""
    found = {name: v for name, v in _by_place(sweep).items() if "noise" in name}
    ratios = {k: v for k, v in sweep_ratios(sweep).items() if "noise" in place(sweep, *k[:2])}
    verdict = combine(found.values())
    answers = {
        "supported": "Yes: it gains at every noise level that was tried.",
        "depends": but(found, "At some noise levels, not at others."),
        "not supported": "No: at no noise level does it beat both peers.",
        "inconclusive": "Undecided: the gain is not certain at every noise level.",
    }
    listed = "; ".join(
        f"{name}: "
        + ", ".join(f"{ratio:.2f}" for k, ratio in ratios.items() if place(sweep, *k[:2]) == name)
        + f" ({v})"
        for name, v in found.items()
    )
    return Claim(
        "tweedie-robust-levels",
        verdict,
        f"Error below s_n (geometric mean over levels) over ambient only, and over naive, trained "
        f"half as long as in the race: {listed}. {POINT_SEED}"
        + doubt(ratios.values(), verdict, BETTER, len(sweep_ratios(sweep))),
        answer=answers[verdict],
        seeds=seeds_of(sweep),
        data="three modes, ratios of errors",
        figure="fig-tw-sweep",
    )


def _by_place(sweep: Results) -> dict[str, str]:
    """Verdict against both peers, by the name of noise and number of points."""
    ratios = sweep_ratios(sweep)
    return {
        place(sweep, *at): every(
            decide(ratios[(*at, peer)], BETTER, reference=1) for peer in PEERS
        )
        for at in dict.fromkeys(key[:2] for key in ratios)
    }  # fmt: skip
