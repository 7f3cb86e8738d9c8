"""Chapter 7: its rules on made-up results: a clear win, a tie, a loss, and what depends."""

from __future__ import annotations

import numpy as np
import pytest

from companion.experiments import Results, tidy
from companion.experiments.claims import Claims
from companion.experiments.foellmer import comparisons, summary
from companion.experiments.foellmer.densities import METHODS
from companion.experiments.foellmer.parametrisations import LOSSES, PARAMETRISATIONS
from companion.experiments.foellmer.targets import DISTANCES
from companion.experiments.foellmer.verdicts import (
    annealing,
    error_bound,
    fewer_parameters,
    log_variance,
    loses_modes,
    preconditioned,
)

SEEDS, SIZES = 5, (4, 8, 16, 32, 64)
YES, NO, OPEN = "supported", "not supported", "inconclusive"


def widths(spread: float = 0.02, **factors: float) -> Results:
    """Errors that fall as one over the width; ``OU_score=2`` doubles one, with _even only there."""
    random = np.random.default_rng(0)
    tables = []
    for loss in LOSSES:
        for name in PARAMETRISATIONS:
            key = name.replace(" ", "_")
            factor = factors.get(f"{key}_{loss}", factors.get(key, 1.0))
            for width in SIZES:
                noise = np.exp(spread * random.standard_normal(SEEDS))
                where = {"loss": loss, "parametrisation": name, "width": width}
                for measure in ("error", "low", "high"):
                    values = factor / width * noise
                    tables.append(tidy(values, {"seed": range(SEEDS)}, measure=measure, **where))
    counts = [w**2 for w in SIZES]
    tables.append(tidy(counts, {"width": SIZES}, measure="parameters"))
    return Results(tables, settings={"widths": SIZES})


def sampling(
    spread: float = 0.01, lost: float = 0.0, alike: float = 0.0, **wrong: float
) -> Results:
    """Share in the wrong modes; ``PIS_far=0.7`` sets one; ``lost`` modes of PIS and DDS.

    ``alike`` is added to the effective share of the log-variance loss.
    """
    random = np.random.default_rng(1)
    tables = []
    for place in DISTANCES:
        for method in METHODS:
            key = method.replace("-", "_").replace(" ", "_")
            share = wrong.get(f"{key}_{place}", wrong.get(key, 0.1))
            values = share + spread * random.standard_normal(SEEDS)
            gone = lost if method in ("PIS", "DDS") and place == "far" else 0.0
            measured = {
                "error of weights": values,
                "lost modes": np.full(SEEDS, gone),
                "error of ln Z": np.abs(values),
                "effective share": np.full(SEEDS, 0.5 + alike * (method == "log-variance")),
            }
            tables += [
                tidy(v, {"seed": range(SEEDS)}, measure=m, target=place, method=method)
                for m, v in measured.items()
            ]
    return Results(tables)


@pytest.mark.parametrize(
    "factors, verdict",
    [
        ({"OU_score": 0.5, "OU_drift": 0.5}, YES),
        ({"OU_score": 3.0, "OU_drift": 2.0}, NO),
        ({}, NO),
        ({"OU_score": 0.5}, "depends"),
        ({"spread": 1.0}, OPEN),
    ],
)
def test_fewer_parameters(factors, verdict):
    claim = fewer_parameters(widths(**factors))
    assert claim.verdict == verdict and claim.answer
    if verdict == NO and factors:
        assert claim.answer.startswith("No") and "not reached" not in claim.evidence


def test_one_condition_is_named():
    claim = fewer_parameters(widths(OU_score_even=0.5))
    assert claim.answer == "Yes for the OU score with all levels alike only."


def test_parameters_that_are_needed():
    # The error falls as one over the width, the parameters grow as its square.
    assert comparisons.parameter_factor(widths(0, OU_drift=2), "OU drift", "even") == pytest.approx(
        4, rel=0.01
    )
    assert np.isnan(comparisons.parameter_factor(widths(0, OU_drift=9), "OU drift", "even"))


@pytest.mark.parametrize(
    "factors, verdict",
    [
        ({"preconditioned": 0.5}, YES),
        ({}, YES),
        ({"preconditioned": 2.0}, NO),
        ({"preconditioned_even": 2.0}, "depends"),
        ({"spread": 1.0}, OPEN),
    ],
)
def test_preconditioning(factors, verdict):
    assert preconditioned(widths(**factors)).verdict == verdict


def test_loss_of_modes():
    both = loses_modes(sampling(lost=2))
    assert both.verdict == "depends"
    assert both.answer == "Far modes are lost by PIS and DDS; near ones are kept."
    assert loses_modes(sampling()).verdict == NO


@pytest.mark.parametrize(
    "wrong, alike, verdict",
    [
        ({"PIS": 0.5, "DDS": 0.5}, 0.2, YES),
        ({"spread": 0.003}, 0.0, NO),
        ({"log_variance": 0.5}, 0.0, NO),
        ({"log_variance": 0.5}, 0.2, "depends"),
        ({"spread": 0.2}, 0.2, OPEN),
    ],
)
def test_log_variance(wrong, alike, verdict):
    claim = log_variance(sampling(alike=alike, **wrong))
    assert claim.verdict == verdict
    assert verdict != "depends" or claim.answer.startswith("Weights of paths are more alike;")


@pytest.mark.parametrize(
    "wrong, verdict",
    [
        ({"PIS": 0.5, "DDS": 0.5, "log_variance": 0.5}, YES),
        ({"PIS": 0.5}, "depends"),
        ({"annealed": 0.5}, NO),
    ],
)
def test_annealing(wrong, verdict):
    assert annealing(sampling(**wrong)).verdict == verdict


def test_the_bound_says_how_much_of_it_is_reached():
    names = ["exact", "of another mixture", "network 1"]
    values = [[0.0, 0.0], [0.2, 0.2], [0.4, 0.1]]
    girsanov = Results(tidy(values, {"drift": names, "measure": ["bound", "KL"]}))
    assert "25% to 100%" in error_bound(girsanov).evidence


@pytest.mark.parametrize(
    "factors, wrong, texts",
    [
        (
            {"OU_score": 0.5, "OU_drift": 0.5},
            {"PIS": 0.5, "DDS": 0.5, "log_variance": 0.5},
            ("as the paper says", "found the weights of far modes better"),
        ),
        (
            {"OU_score": 2.0},
            {"annealed": 0.5},
            ("abstract says that it needs fewer", "need no certainty"),
        ),
        ({"spread": 1.0}, {"PIS": 0.5}, ("not decided", "try annealed particles first")),
    ],
)
def test_the_box_follows_the_verdicts(factors, wrong, texts):
    w, s = widths(**factors), sampling(**wrong)
    rules = (fewer_parameters, preconditioned)
    claims = Claims([*(rule(w) for rule in rules), annealing(s)])
    box = summary.summarise(claims, w, s)
    assert texts[0] in box.works and texts[1] in box.avoid
    assert f"annealed {wrong.get('annealed', 0.1):.1f}" in box.number
