"""What chapter 3 concludes about the second-hand summary: one rule a claim."""

from __future__ import annotations

from collections.abc import Mapping

from companion.experiments.claims import Claim
from companion.experiments.noise_classifier.comparisons import decide_each, ratio_text, tally
from companion.experiments.noise_classifier.continuations import SAME_COST
from companion.experiments.noise_classifier.evidence import (
    claim,
    entropy_ratios,
    image_tests_in_words,
    kinds_of_samples,
    known_shares,
    levels_in_words,
    off_ratios,
    setting_name,
    short,
)
from companion.experiments.noise_classifier.points import DATA
from companion.experiments.results import Results
from companion.statistics import mean_interval

__all__ = [
    "LESS",
    "NATS",
    "Told",
    "consistently",
    "density",
    "disguise",
    "distinguish",
    "predicts_level",
]

LESS = 0.95
"""Ratio to equal evaluations from which a gain matters: 5 %, of errors, distances, iterations."""
AS_GOOD = 0.95
"""Share of what the exact classifier knows from which a network 'is' one: all but 5 %."""
SHOWS = 0.9
"""Share of a change of the noise that an answer must show to predict it: all but a tenth."""
NATS = 0.1
"""Median error of the ratio that counts as right."""

Told = Mapping[str, Results | None]
"""Records of the image experiment by their titles."""


def disguise(trained: Results) -> Claim:
    """The classifier inside of a trained network is as good as the exact one."""
    found = decide_each(known_shares(trained), AS_GOOD, reference=0.0)
    return claim(
        "classifier-disguise",
        found,
        {
            "supported": "Yes: the classifier inside a trained network is as good as the exact "
            "one.",
            "not supported": "No: the classifier inside a trained network is worse than the exact "
            "one.",
            "depends": f"The classifier inside a trained network is as good only on "
            f"{found.where()}.",
            "inconclusive": "Not decided: the classifier inside may be as good as the exact one.",
        },
        f"What the classifier of a trained network knows (nats below chance), as a share of what "
        f"that of the exact denoiser knows: {found.listed}.",
        data="share of the exact classifier's nats",
        results=trained,
        figure="fig-nc-ratio",
    )


def distinguish(test: Results, trained: Results, images: Told) -> Claim:
    """The loss helps to tell clean from noised, at equal evaluations."""
    number = len(DATA) + len(test.labels("t", measure="cross entropy"))
    ratios = {f"digits, t = {t:g}": i for t, i in entropy_ratios(test, "t", number).items()}
    found = decide_each(ratios | entropy_ratios(trained, "data", number), LESS)
    return claim(
        "classifier-distinguish",
        found,
        {
            "supported": "Yes: at equal cost clean and noised are told apart better.",
            "not supported": "No: at equal cost clean and noised are not told apart 5 % better.",
            "depends": short(
                f"Told apart better only for {found.where()}.",
                "At equal cost clean and noised are told apart better in some cases only.",
            ),
            "inconclusive": "Not decided: at equal cost clean and noised may be told apart better.",
        },
        f"Ratio of cross entropies of telling clean from noised, with the loss over denoising at "
        f"equal evaluations: {found.listed}. "
        f"{image_tests_in_words(images)}",
        data="ratio of cross entropies",
        results=test,
    )


def density(accuracy: Results, errors: Results) -> Claim:
    """An optimal denoiser is a density estimator: an identity."""
    listed = ", ".join(f"{i.mean:.0f} times ({name})" for name, i in off_ratios(errors).items())
    return Claim(
        "classifier-density",
        "proved",
        f"It is an identity, checked on mixtures with exact densities. "
        f"{levels_in_words(accuracy, NATS)} A trained denoiser is not optimal: off the training "
        f"distribution its error is {listed} as large as on it.",
        answer="Yes: the errors of an optimal denoiser over all levels give the density.",
        figure="fig-nc-ratio",
        proof="tests/test_metrics.py::test_nll_of_a_mixture",
    )


def predicts_level(reading: Results) -> Claim:
    """Told another level, a network's answer shows the noise that is there."""
    true, told = (
        mean_interval(reading.values(measure="elasticity", changed=changed))
        for changed in ("true level", "told level")
    )
    found = decide_each({"true level": true}, SHOWS, reference=0.0)
    return claim(
        "classifier-predicts-level",
        found,
        {
            "supported": "Yes: told a wrong level, a network's answer still shows the true noise.",
            "not supported": "No: a network is told a level, and does not predict the true one.",
            "inconclusive": "Not decided: told a wrong level, its answer may show the true noise.",
        },
        f"Share of a change of the noise that the answer shows: {ratio_text(true)} if the true "
        f"noise changes and the told level stays, {ratio_text(told)} the other way round. The "
        f"level is an input of the network, and nothing trains it to give one.",
        data="digits, elasticity of the answer's noise",
        results=reading,
    )


def consistently(sequential: Results, parallel: Results, digits: Results) -> Claim:
    """The loss is better in every setting, at equal evaluations."""
    listed = [
        (setting_name(kind, case[1]), case)
        for kind, some in kinds_of_samples(sequential, parallel, digits).items()
        for case in some
    ]
    compared = tally([case for _, case in listed], SAME_COST, len(listed))
    found = decide_each(dict(zip((n for n, _ in listed), compared.ratios)), LESS, every=True)
    gains = sum(verdict == "supported" for verdict in found.each.values())
    return claim(
        "classifier-consistently",
        found,
        {
            "supported": "Yes: at equal cost samples are better in every setting.",
            "not supported": f"No: at equal cost samples are better in {gains} of {len(listed)} "
            "settings.",
            "inconclusive": "Not decided: at equal cost samples may be better in every setting.",
        },
        f"Ratio of distances to equal evaluations in the setting that gains least: "
        f"{ratio_text(found.found[found.decisive])} ({found.decisive}). Of {len(listed)} settings "
        f"{gains} gain.",
        data=found.decisive,
        results=sequential,
    )
