"""Chapter 6: its rules on made-up results: a win, a tie, a loss, too much scatter."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from companion.experiments import physics
from companion.experiments.claims import Claims
from companion.experiments.physics import summary
from companion.experiments.results import Results, tidy

SEEDS = {"seed": range(6)}
ALL = ("none", "mean", "sample", "end", "late", "always")
verdicts = importlib.import_module("companion.experiments.physics.verdicts")
RNG = np.random.default_rng(0)


def around(mean, scatter):
    return mean * np.exp(scatter * RNG.standard_normal(6))


def made_circle(scatter=0.01, **factors):
    """Results of Circle: 1 everywhere, but for ``measure_method=factor``."""
    tables = []
    for measure in ("residual", "distance", "cosine", "held_out"):
        for method in ALL:
            for n in (32, 128, 10_000):
                factor = factors.get(f"{measure}_{method}", 1.0)
                name = "held-out error" if measure == "held_out" else measure
                where = {"measure": name, "method": method, "points": n}
                tables.append(tidy(around(factor, scatter), SEEDS, **where))
    return Results(tables)


def made_lines(scatter=0.01, **factors):
    """Results of Lines: the same."""
    tables = []
    for measure in ("residual", "distance", "residual over size", "size", "solved again"):
        for method in ALL:
            for equation in ("linear", "bilinear"):
                factor = factors.get(f"{measure}_{method}", 1.0)
                where = {"measure": measure, "method": method, "equation": equation}
                tables.append(tidy(around(factor, scatter), SEEDS, **where))
                if method in ("mean", "sample"):
                    both = [around(factor, scatter), around(factor, scatter)]
                    where["measure"] = f"{measure} by weight"
                    tables.append(tidy(both, {"c": (1e-8, 1e-6)} | SEEDS, **where))
    floors = [
        tidy([0.1], {"seed": [0]}, measure="floor", equation=e) for e in ("linear", "bilinear")
    ]
    return Results([*tables, *floors])


def made_exact(shift=0.05):
    """Results of ExactCircle, in which the mean form shifts the cosine."""
    tables = [tidy([0.7] * 6, SEEDS, measure="cosine", form="none", c=0.0)]
    for form in ("mean", "sample"):
        for c in (0.005, 0.1):
            where = {"measure": "cosine", "form": form, "c": c}
            tables.append(tidy([0.7 + shift] * 6, SEEDS, **where))
    return Results(tables, facts={"cosine of the data": 0.7})


def made_exact_lines(factor=1.0):
    """Results of ExactLines, in which the minimum changes the distance by a factor."""
    return Results(
        [
            tidy(
                [v] * 4, {"seed": range(4)}, measure="exact distance", equation="bilinear", method=m
            )
            for m, v in {"none": 1.0, "mean": factor}.items()
        ]
    )


WIN = {"residual_mean": 0.5, "residual_sample": 0.5}


@pytest.mark.parametrize(
    ("factors", "scatter", "verdict"),
    [
        (WIN, 0.01, "supported"),
        ({}, 0.01, "not supported"),
        ({"residual_mean": 2.0, "residual_sample": 2.0}, 0.01, "not supported"),
        ({"residual_mean": 0.5}, 0.01, "depends"),
        ({"residual_mean": 0.9, "residual_sample": 0.9}, 0.6, "inconclusive"),
    ],
)
def test_alignment(factors, scatter, verdict):
    claim = verdicts.alignment(made_circle(scatter, **factors), made_lines(scatter, **factors))
    assert claim.verdict == verdict
    if verdict == "depends":
        assert claim.answer == "The equation is obeyed better with the mean form; else not."
    if verdict == "inconclusive":
        assert "power" in claim.evidence


@pytest.mark.parametrize(
    ("free", "verdict"), [(2.0, "supported"), (1.0, "not supported"), (0.5, "not supported")]
)
def test_outperforms_is_judged_against_the_free_rival(free, verdict):
    factors = {"distance_end": free}
    claim = verdicts.outperforms(made_circle(**factors), made_lines(**factors))
    assert claim.verdict == verdict


@pytest.mark.parametrize(("factor", "verdict"), [(0.01, "supported"), (0.3, "not supported")])
def test_two_orders(factor, verdict):
    assert verdicts.two_orders(made_lines(residual_mean=factor)).verdict == verdict


@pytest.mark.parametrize(
    ("factors", "verdict"),
    [
        ({"held_out_mean": 0.8, "held_out_sample": 0.8}, "supported"),
        ({"held_out_mean": 1.5}, "not supported"),
        ({"held_out_sample": 0.8}, "depends"),
    ],
)
def test_overfitting(factors, verdict):
    assert verdicts.overfitting(made_circle(**factors)).verdict == verdict


def test_an_open_answer_says_what_is_settled():
    circle = made_circle(held_out_mean=2.0)
    rows = (circle.table["method"] == "sample") & (circle.table["measure"] == "held-out error")
    circle.table.loc[rows, "value"] = 0.9 * np.exp(0.4 * RNG.standard_normal(rows.sum()))
    claim = verdicts.overfitting(circle)
    assert claim.answer == "It does not regularise with the mean form; else open."


@pytest.mark.parametrize(
    ("factor", "moved", "verdict", "cause"),
    [
        (1.5, 1.3, "supported", "part of what networks lose"),
        (1.5, 1.0, "depends", "not from the gap"),
        (1.0, 1.3, "not supported", "part of what networks lose"),
        (1.0, 1.0, "not supported", "not from the gap"),
    ],
)
def test_trade_off(factor, moved, verdict, cause):
    """What networks lose on the line counts only if the exact minimum loses too."""
    factors = {"distance_mean": factor}
    made = made_circle(**factors), made_lines(**factors), made_exact_lines(moved)
    claim = verdicts.trade_off(*made)
    assert claim.verdict == verdict and cause in claim.evidence
    if verdict == "depends":
        assert claim.answer.startswith("On the circle yes; on the line")
        assert claim.evidence.partition("larger weight): ")[2].startswith("mean form, circle")


@pytest.mark.parametrize(
    ("mean", "scatter", "verdict"),
    [(1.05, 0.001, "supported"), (1.2, 0.001, "not supported"), (1.05, 0.05, "inconclusive")],
)
def test_bias(mean, scatter, verdict):
    circle = made_circle(scatter, cosine_mean=mean)
    assert verdicts.bias(circle, made_exact()).verdict == verdict


def claims_of(circle, lines):
    return Claims(
        [
            verdicts.alignment(circle, lines), verdicts.outperforms(circle, lines),
            verdicts.two_orders(lines), verdicts.speed(), verdicts.overfitting(circle),
            verdicts.gap(), verdicts.trade_off(circle, lines, made_exact_lines()),
            verdicts.bias(circle, made_exact()),
        ]
    )  # fmt: skip


def test_the_largest_weight_decides_on_the_residual_and_its_price():
    lines = made_lines()
    rows = lines.table["measure"].str.endswith("by weight") & (lines.table["c"] == 1e-6)
    lines.table.loc[rows, "value"] *= 0.5
    where = {"equation": "bilinear"}
    assert verdicts.ratio(lines, "residual", "mean", "none", largest=True, **where).mean < 0.6
    assert verdicts.ratio(lines, "residual", "mean", "none", **where).mean > 0.9


def test_the_box_says_what_was_found():
    won = made_circle(**WIN, held_out_mean=0.5, held_out_sample=0.5, distance_end=2.0)
    lines = made_lines(**WIN, distance_end=2.0)
    box = summary.box(won, lines, claims_of(won, lines))
    assert box.works.startswith("Yes") and "no further" in box.works and "regularises" in box.use
    assert "nearer" in box.use and "0.5" in box.number
    lost, lines = made_circle(distance_mean=2.0), made_lines(distance_mean=2.0)
    box = summary.box(lost, lines, claims_of(lost, lines))
    assert box.works.startswith("No") and "further from the data" in box.works
    assert "did not" in box.avoid
    worse = made_lines(**WIN, **{"solved again_mean": 2.0})
    assert "not a small error" in summary.residual_and_error(worse)
    assert "do not change" in summary.residual_and_error(made_lines(0.3))
    assert "no difference" in summary.guided(made_circle(0.3))
    assert "away from the data" in summary.guided(made_circle(distance_always=2.0))


def test_tables_and_figures_show_made_up_results():
    circle, lines = made_circle(), made_lines()
    assert "projected" in physics.tables.circle_table(circle).to_html()
    assert "1.00" in physics.tables.held_out(circle).to_html()
    assert "bilinear" in physics.tables.line_table(lines, "bilinear").to_html()
    assert "1e-08" in physics.tables.weights_table(lines).to_html()
    assert physics.figures.pareto(circle, lines).axes
    assert physics.figures.bias(made_exact(), circle).axes


@pytest.mark.parametrize(
    "factors, said",
    [
        ({"residual": 0.5, "solved again": 2.0}, ("residual smaller", "is further from")),
        ({"residual": 2.0, "solved again": 0.5}, ("residual larger", "is nearer to")),
        ({}, ("may make the residual smaller or larger", "is open too")),
    ],
)
@pytest.mark.parametrize("width", [0.7, 1.0])
def test_a_record_of_the_square_is_told_as_it_came_out(factors, said, width):
    tables = []
    differ = np.array([0.98, 1.02, 0.98, 1.02, 0.98, 1.02])  # as much above as below
    for method in ("none", "mean", "sample"):
        for measure in ("residual", "solved again"):
            values = np.ones(6) if method == "none" else factors.get(measure, 1.0) * differ
            tables.append(tidy(values, SEEDS, measure=measure, method=method))
        tables.append(tidy(width * differ, SEEDS, measure="coefficients", method=method))
    told = summary.on_the_square(Results(tables))
    assert all(told.count(part) == 2 for part in said)
    assert ("not trained to the end" in told) == (width < 0.9)
