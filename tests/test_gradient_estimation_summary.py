"""What chapter 4 says in short: a win reads as a win, a loss as a loss."""

import numpy as np
import pytest
from test_gradient_estimation_rules import race, sweep

from companion.experiments import Results, tidy
from companion.experiments.claims import Claim, Claims
from companion.experiments.gradient_estimation import summary

YES, NO, OPEN, DEPENDS = "supported", "not supported", "inconclusive", "depends"


def claims(gamma_two, state_of_the_art, learned=OPEN):
    told = {"gamma-two": gamma_two, "state-of-the-art": state_of_the_art, "gamma-default": NO}
    named = {**{f"projection-{k}": v for k, v in told.items()}, "learned-ahead": learned}
    return Claims(Claim(k, v, "measured", answer=v) for k, v in named.items())


@pytest.mark.parametrize(
    "ddim, rivals, works, use, avoid",
    [
        (YES, YES, "Yes against DDIM", "You sample with DDIM", "nothing else was better"),
        (YES, NO, "No against the best of UniPC", "You sample with DDIM", "You can use UniPC"),
        (NO, NO, "No: at 5 and 10 evaluations", "Not as recommended", "You can use UniPC"),
        (DEPENDS, DEPENDS, "in some of the cases", "You sample", "You can use UniPC"),
        (OPEN, OPEN, "Open against DDIM", "You sample", "You can use UniPC"),
    ],
)
def test_the_box_follows_the_verdicts(ddim, rivals, works, use, avoid):
    made = race({"gradient_estimation": 0.8, "unipc": 0.5})
    box = summary.box(made, sweep(1.7), claims(ddim, rivals))
    assert works in box.works and use in box.use and avoid in box.avoid
    assert "0.80 [" in box.number and "1.60 [" in box.number
    assert "1.7 at 5 steps" in box.use


def test_the_learned_sampler_is_named_where_it_is_ahead():
    made = race({"gradient_estimation": 0.8})
    for verdict, said in {YES: "ahead of all", DEPENDS: "in some cases", NO: ""}.items():
        avoid = summary.box(made, sweep(1.7), claims(YES, NO, verdict)).avoid
        assert said in avoid and ("learn a sampler" in avoid) == (verdict != NO)


def test_the_lines_are_filled_from_results():
    rows = [
        tidy([1.0, 1.7], {"gamma": [1.0, 1.5]}, measure="order"),
        tidy([0.98, -1.0], {"measure": ["sizes", "cosine"]}, steps=320),
    ]
    told = "\n".join(summary.convergence(Results(rows)))
    assert "1.70 (γ = 1.5)" in told and "at 320 steps" in told and "sizes 0.98 : 1" in told


@pytest.mark.parametrize(
    "factor, told", [(0.8, "surely nearer at N = 5"), (1.2, "surely nearer at no N")]
)
def test_the_recommended_gamma_is_compared_by_distance_too(factor, told):
    where = {"measure": "Frechet distance", "budget": 5}
    where |= {"variant": "γ 1.5", "sigma_min": 0.1}
    chosen = np.array([10.0, 11.0, 12.0, 13.0])
    parts = [
        tidy(values, {"seed": range(4)}, method=method, **where)
        for method, values in (("ge-chosen", chosen), ("gradient_estimation", factor * chosen))
    ]
    said = summary.default_or_chosen(Results(parts))
    assert told in said and f"N = 5: {factor:.2f}" in said
    assert "No other γ" in summary.default_or_chosen(Results(parts[1]))
