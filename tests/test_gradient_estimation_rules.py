"""The rules of chapter 4 on made-up results, where the verdict is plain."""

import importlib
import math

import numpy as np
import pandas as pd
import pytest

from companion.experiments import Results, tidy
from companion.experiments.gradient_estimation import comparisons, tables
from companion.experiments.gradient_estimation.methods import METHODS, OFFICIAL, RIVALS
from companion.experiments.gradient_estimation.problems import IDEAL, PROBLEMS

# By its name: `verdicts` of the package is the function that applies all rules.
rules = importlib.import_module("companion.experiments.gradient_estimation.verdicts")

SEEDS = 8
EQUAL = dict.fromkeys(METHODS, 1.0)


def scattered(mean, seed=0):
    """Values with a scatter of 1 % over seeds, whose geometric mean is the given one."""
    scatter = np.random.default_rng(seed).normal(size=SEEDS)
    return mean * np.exp(0.01 * (scatter - scatter.mean()))


def race(errors=(), distances=(), failed=None):
    """All problems alike: mean of each method that is not 1; the method with a failed seed."""
    parts = []
    for problem in PROBLEMS:
        for measure, means in (("error", errors), ("distance", distances)):
            for i, (method, mean) in enumerate({**EQUAL, **dict(means)}.items()):
                for n in (5, 10, 50):
                    values = scattered(mean, i)
                    if method == failed and measure == "error":
                        values[-1] = math.nan
                    where = {"measure": measure, "problem": problem, "method": method, "budget": n}
                    parts.append(tidy(values, {"seed": range(SEEDS)}, **where))
        where = {"measure": "real data", "problem": problem}
        parts.append(tidy(scattered(0.5), {"seed": range(SEEDS)}, **where))
    return Results(parts)


def sweep(best):
    """Valleys, parabolas in logarithms, around the best gamma; a small scatter over seeds."""
    gammas = np.linspace(1, 3, 21)
    shift = 0.002 * np.arange(SEEDS)
    valley = np.exp((gammas[:, None] - best - shift + shift.mean()) ** 2)
    dims = {"gamma": gammas, "seed": range(SEEDS)}
    return Results(
        [
            tidy(valley, dims, measure=m, problem=p, steps=n)
            for m in ("error", "distance")
            for p in (*PROBLEMS, IDEAL)
            for n in (5, 20)
        ]
    )


def paths(worst=0.2, median=0.1, nu=1.5, fall=4000.0):
    values = {"eta, worst": worst, "eta, median path": median, "nu": nu, "fall of sigma": fall}
    table = tidy(list(values.values()), {"measure": values})
    return Results(table, facts={"images": 100, "paths": 8})


def descents(factors, violations=0):
    """Worst factors of two paths, by number of steps of the log-linear schedule."""
    named = {f"log-linear, {n} steps": pair for n, pair in factors.items()} | {"a leap": (9, 9)}
    counts = {"violations": violations, "steps": 10}
    parts = [
        part
        for name, pair in named.items()
        for part in (
            tidy(pair, {"path": range(2)}, measure="worst factor", schedule=name),
            tidy(list(counts.values()), {"measure": counts}, schedule=name),
        )
    ]
    return Results(parts, facts={"images": 100})


def schedules(gamma_two, log_linear, failed=False):
    """Errors: what gamma 2 leaves on each schedule, and what the log-linear one leaves."""
    values = np.empty((len(OFFICIAL), 2, 2, SEEDS))
    for i, name in enumerate(OFFICIAL):
        for j, left in enumerate((1.0, gamma_two)):
            mean = left * (log_linear if name == "log-linear" else 1.0)
            values[i, j] = scattered(mean, 10 * i + j)
    if failed:
        values[OFFICIAL.index("log-linear"), 1, 0, 0] = math.nan
    dims = {"schedule": OFFICIAL, "gamma": (1.0, 2.0), "budget": (5, 10), "seed": range(SEEDS)}
    return Results(tidy(values, dims, measure="error"))


def shares():
    rows = [["share", "sphere", 1, 2, None, 0.5], ["share", "digits", 8, 64, 0.9, 0.14]]
    columns = ["measure", "set", "dimension", "ambient", "energy", "value"]
    return Results(pd.DataFrame(rows, columns=columns))


def identity(gap):
    return Results(tidy([gap, 1e-8], {"denoiser": ["a", "b"]}, measure="relative gap"))


def order():
    return Results(tidy([0.98, -1.0], {"measure": ["sizes", "cosine"]}))


# --- projection and descent


@pytest.mark.parametrize(
    "worst, median, verdict",
    [
        (0.2, 0.1, "supported"),
        (0.52, 0.25, "supported in part"),
        (0.5, 0.5, "not supported"),
    ],
)
def test_orthogonal(worst, median, verdict):
    claim = rules.orthogonal(shares(), paths(worst, median))
    assert claim.verdict == verdict and claim.effect == median
    assert "14%" in claim.evidence and "90%" in claim.evidence


@pytest.mark.parametrize(
    "gap, violations, verdict",
    [
        (1e-7, 0, "supported"),
        (1e-7, 3, "supported in part"),
        (1e-3, 0, "not supported"),
        (math.nan, 0, "not supported"),
    ],
)
def test_descent(gap, violations, verdict):
    claim = rules.descent(identity(gap), paths(), descents({50: (1, 1)}, violations))
    assert claim.verdict == verdict


def test_convergence():
    kept = descents({50: (1, 1)})
    assert rules.convergence(paths(median=0.04), kept).verdict == "supported"  # 1.5^25 > 4000
    claim = rules.convergence(paths(median=0.25), kept)
    assert claim.verdict == "supported in part"
    assert claim.effect == pytest.approx(1.5**4)
    broken = descents({50: (1, 1)}, violations=1)
    assert rules.convergence(paths(median=0.25), broken).verdict == "not supported"


@pytest.mark.parametrize(
    "factors, verdict",
    [
        ({50: (1.1, 1.5), 5: (1.4, 1.5)}, "supported"),
        ({50: (1.1, 1.5), 5: (1.4, 1.6)}, "supported in part"),
        ({50: (1.1, 1.6), 5: (1.4, 1.6)}, "not supported"),
    ],
)
def test_admissible(factors, verdict):
    """The schedule with a leap is not asked."""
    claim = rules.admissible(paths(nu=1.5), descents(factors))
    assert claim.verdict == verdict
    assert list(rules.kept_within(1.5, descents(factors))) == [
        f"log-linear, {n} steps" for n in factors
    ]


# --- gradient estimation


@pytest.mark.parametrize(
    "ours, verdict", [(0.5, "supported"), (1.0, "not supported"), (2.0, "not supported")]
)
def test_generalises(ours, verdict):
    claim = rules.generalises(race({"gradient_estimation": ours}))
    assert claim.verdict == verdict
    assert claim.effect == pytest.approx(ours) and claim.seeds == SEEDS


def test_generalises_in_part():
    """A win on one problem only."""
    table = race({"gradient_estimation": 0.5}).table
    even = race().table
    table.loc[table["problem"] != PROBLEMS[0]] = even.loc[even["problem"] != PROBLEMS[0]]
    assert rules.generalises(Results(table)).verdict == "supported in part"


@pytest.mark.parametrize(
    "gamma_two, log_linear, verdict",
    [
        (0.3, 0.9, "supported"),
        (0.3, 1.0, "supported in part"),
        (1.2, 0.9, "supported in part"),
        (1.0, 1.0, "not supported"),
    ],
)
def test_two_ways(gamma_two, log_linear, verdict):
    claim = rules.two_ways(schedules(gamma_two, log_linear))
    assert claim.verdict == verdict
    assert claim.effect == pytest.approx(gamma_two)


def test_two_ways_with_a_seed_that_failed():
    claim = rules.two_ways(schedules(0.3, 0.9, failed=True))
    assert claim.verdict == "supported in part" and claim.interval is None


@pytest.mark.parametrize("best, verdict", [(1.6, "supported"), (1.0, "not supported")])
def test_gamma_above_one(best, verdict):
    assert rules.gamma_above_one(sweep(best)).verdict == verdict


@pytest.mark.parametrize(
    "ours, best, verdict",
    [
        (0.5, 2.0, "supported"),
        (0.5, 1.6, "supported in part"),
        (1.0, 2.0, "not supported"),
        (2.0, 2.0, "not supported"),
    ],
)
def test_gamma_two(ours, best, verdict):
    claim = rules.gamma_two(race({"gradient_estimation": ours}), sweep(best), order())
    assert claim.verdict == verdict
    assert claim.effect == pytest.approx(best, abs=0.001)


@pytest.mark.parametrize(
    "ours, verdict",
    [(0.5, "supported"), (1.0, "not supported"), (2.0, "not supported")],
)
def test_state_of_the_art(ours, verdict):
    claim = rules.state_of_the_art(race({"gradient_estimation": ours}), {"MNIST": None})
    assert claim.verdict == verdict
    assert claim.effect == pytest.approx(ours, rel=0.02)
    assert "not yet recorded" in claim.evidence


def test_state_of_the_art_in_part():
    """Better than two rivals, worse than one."""
    claim = rules.state_of_the_art(race({"gradient_estimation": 0.8, RIVALS[0]: 0.5}), {})
    assert claim.verdict == "supported in part"
    assert claim.effect == pytest.approx(1.6, rel=0.02)  # against the strongest


def test_a_seed_that_failed_counts_against_the_method_and_never_for_it():
    ours = race({"gradient_estimation": 0.5}, failed="gradient_estimation")
    assert comparisons.tally(ours, "gradient_estimation", RIVALS)[:2] == (0, 18)
    assert rules.state_of_the_art(ours, {}).verdict == "not supported"
    assert rules.generalises(ours).verdict == "not supported"
    peer = race({"gradient_estimation": 0.5}, failed="unipc")
    assert comparisons.tally(peer, "gradient_estimation", ["unipc"])[:2] == (0, 0)
    assert rules.state_of_the_art(peer, {}).verdict == "supported"
    assert tables.against_peers(peer).shape == (6, 5)


def test_what_was_not_run_is_not_tested():
    assert {rules.latent().verdict, rules.coco().verdict} == {"not tested"}


# --- what rules and tables share


def test_only_few_evaluations_count():
    table = race({"gradient_estimation": 0.5}).table
    at_many = (table["method"] == "gradient_estimation") & (table["budget"] == 50)
    table.loc[at_many, "value"] = 5.0
    claim = rules.generalises(Results(table))
    assert claim.verdict == "supported" and "6 of 6" in claim.evidence


def test_within_the_range_of_real_samples():
    results = race(distances={"unipc": 0.5})
    assert comparisons.within_real(results, "unipc", [5, 10]) == 6
    assert comparisons.within_real(results, "ddim", [5, 10]) == 0


@pytest.mark.parametrize("best", [1.5, 1.57, 2.0])
def test_the_best_gamma_is_found_between_the_values_tried(best):
    """Exact for a parabola in logarithms."""
    found = comparisons.best_gamma(sweep(best), "error", PROBLEMS[0], 5)
    assert found.mean == pytest.approx(best, abs=1e-6)
    assert found.low < best < found.high


def test_the_best_gamma_at_an_end_and_with_runs_that_failed():
    at_end = comparisons.best_gamma(sweep(0.5), "error", PROBLEMS[0], 5)
    assert at_end.mean == pytest.approx(1.0)
    table = sweep(1.6).table
    table.loc[table["gamma"] > 2.5, "value"] = math.nan
    found = comparisons.best_gamma(Results(table), "error", PROBLEMS[0], 5)
    assert found.mean == pytest.approx(1.6, abs=1e-6)


def record(values):
    """An image record: (variants, seeds) of gradient estimation, 1 for the others."""
    parts = []
    for method, tried in {
        "ddim": {"": [1.0, 1.0, 1.0]}, "unipc": {"": [0.5, 0.5, 0.5]}, "gradient_estimation": values
    }.items():  # fmt: skip
        for measure in ("error", "Frechet distance"):
            for variant, row in tried.items():
                where = {"measure": measure, "method": method, "budget": 5, "variant": variant}
                parts.append(tidy(row, {"seed": range(3)}, sigma_min=0.1, **where))
    return Results(parts, facts={"floor": 0.1})


def test_each_seed_gets_the_setting_that_was_best_on_the_others():
    made = record({"a": [0.2, 2.0, 2.0], "b": [1.0, 1.0, math.nan], "c": [1.5, 1.5, 1.5]})
    values = comparisons.image_values(made, "error", "gradient_estimation", 5)
    # Without seed 0, c is best (b failed on seed 2); without seed 1, a; without seed 2, b, failed.
    assert values.tolist() == [1.5, 2.0, math.inf]


def test_images_in_the_evidence_and_in_the_table():
    made = record({"a": [0.8, 0.8, 0.8]})
    assert comparisons.image_ratios(made, 5) == pytest.approx((0.8, 1.6))
    claim = rules.state_of_the_art(race(), {"MNIST": made, "CIFAR-10": None})
    assert "MNIST 0.80 times DDIM's and 1.60 times the best rival's" in claim.evidence
    table = tables.images({"MNIST": made})
    ours = table[table["sampler"] == "gradient estimation, γ = 2"]["N = 5"]
    assert ours.tolist() == ["0.8 · 0.80 [0.80, 0.80]"] * 2
    assert "0.1" in table[table["sampler"] == "as many training images"]["N = 5"].tolist()
