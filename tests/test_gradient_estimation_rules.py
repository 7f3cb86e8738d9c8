"""The rules of chapter 4 on made-up results: a win, a loss, a tie and noise for each."""

import importlib
import math

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from companion.experiments import Results, tidy
from companion.experiments.gradient_estimation import (
    comparisons,
    projection,
    rulings,
    summary,
    tables,
)
from companion.experiments.gradient_estimation.methods import METHODS, OFFICIAL, PEERS, RIVALS
from companion.experiments.gradient_estimation.problems import DIGITS, IDEAL, PROBLEMS
from companion.statistics import Interval

# By its name: `verdicts` of the package is the function that applies all rules.
rules = importlib.import_module("companion.experiments.gradient_estimation.verdicts")

# Said by diffusers' own code, at each of its steps.
pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")

SEEDS = 8
EQUAL = dict.fromkeys(METHODS, 1.0)
YES, NO, OPEN, DEPENDS = "supported", "not supported", "inconclusive", "depends"


def scattered(mean, seed=0, scatter=0.01):
    """Values with a scatter over seeds, whose geometric mean is the given one."""
    random = np.random.default_rng(seed).normal(size=SEEDS)
    return mean * np.exp(scatter * (random - random.mean()))


def around(mean, scatter):
    """Values whose mean is the given one, alternating above and below."""
    return mean + scatter * np.where(np.arange(SEEDS) % 2, 1.0, -1.0)


def by_seed(values, **where):
    return tidy(values, {"seed": range(SEEDS)}, **where)


def race(errors=(), distances=(), failed=None, scatter=0.01, budgets=(3, 5, 10, 50)):
    """All problems alike: mean of each method that is not 1; the method with a failed seed."""
    parts = []
    for problem in PROBLEMS:
        for measure, means in (("error", errors), ("distance", distances)):
            for i, (method, mean) in enumerate({**EQUAL, **dict(means)}.items()):
                for n in budgets:
                    values = scattered(mean, i, scatter)
                    if method == failed and measure == "error":
                        values[-1] = math.nan
                    where = {"measure": measure, "problem": problem, "method": method, "budget": n}
                    parts.append(by_seed(values, **where))
        parts.append(by_seed(scattered(0.5), measure="real data", problem=problem))
    return Results(parts)


def mixed(one, other, **where):
    """Rows that meet the conditions from one race, the rest from the other."""
    table = other.table.copy()
    chosen = one.where(**where).index
    table.loc[chosen] = one.table.loc[chosen]
    return Results(table)


def sweep(best, scatter=0.002):
    """Valleys, parabolas in logarithms, around the best gamma; a small scatter over seeds."""
    gammas = np.linspace(0.5, 3, 26)
    shift = scatter * np.arange(SEEDS)
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


def paths(errors=(0.05, 0.05), scatter=0.001, eta=0.1, eta_scatter=0.001, nu=1.5):
    levels = {"level": [10.0, 1.0], "seed": range(SEEDS)}
    return Results(
        [
            tidy([around(e, scatter) for e in errors], levels, measure="relative error"),
            by_seed(around(eta, eta_scatter), measure="eta of a path"),
            tidy([nu, 4000.0], {"measure": ["nu", "fall of sigma"]}),
        ],
        facts={"images": 100, "paths": 8},
    )


def descents(shares, scatter=0.0, violations=0):
    """Share of the paths in the band, by number of steps of the log-linear schedule."""
    named = {f"log-linear, {n} steps": share for n, share in shares.items()} | {"a leap": 0.0}
    counts = {"violations": violations, "steps": 10}
    parts = [
        part
        for name, share in named.items()
        for part in (
            by_seed(around(share, scatter), measure="share in the band", schedule=name),
            tidy(list(counts.values()), {"measure": counts}, schedule=name),
        )
    ]
    return Results(parts, facts={"images": 100}, settings={"band": 2.0})


def schedules(gamma_two, log_linear, scatter=0.01, failed=False):
    """Errors: what gamma 2 leaves on each schedule, and what the log-linear one leaves."""
    values = np.empty((len(OFFICIAL), 2, 2, SEEDS))
    for i, name in enumerate(OFFICIAL):
        for j, left in enumerate((1.0, gamma_two)):
            mean = left * (log_linear if name == "log-linear" else 1.0)
            values[i, j] = scattered(mean, 10 * i + j, scatter)
    if failed:
        values[OFFICIAL.index("log-linear"), 1, 0, 0] = math.nan
    dims = {"schedule": OFFICIAL, "gamma": (1.0, 2.0), "budget": (5, 10), "seed": range(SEEDS)}
    return Results(tidy(values, dims, measure="error"))


def shares(mean, scatter=0.001, low=0.05):
    columns = ["measure", "set", "dimension", "ambient", "energy", "seed", "value"]
    rows = [
        ["share", "digits", 8, 64, energy, s, value]
        for energy, at in ((0.5, low), (0.9, mean))
        for s, value in enumerate(around(at, scatter))
    ]
    return Results(pd.DataFrame(rows, columns=columns))


def falls(networks=(1.0, 1.0), ideal=(1.0, 1.0), scatter=0.01):
    dims = {"level": [10.0, 0.1], "seed": range(SEEDS)}
    parts = [
        tidy([around(v, scatter) for v in values], dims, measure="fall", problem=problem)
        for problem, values in ((DIGITS, networks), (IDEAL, ideal))
    ]
    return Results([*parts, tidy([0.3], {"measure": ["spacing"]})])


def nearest(*left, scatter=0.01):
    return Results(
        [
            by_seed(scattered(mean, 0, scatter), measure="error with gamma 2", steps=n)
            for n, mean in zip((5, 10), left)
        ]
    )


def identity(gap):
    return Results(tidy([gap, 1e-8], {"denoiser": ["a", "b"]}, measure="relative gap"))


def order():
    return Results(tidy([0.98, -1.0], {"measure": ["sizes", "cosine"]}))


# --- projection and descent


@pytest.mark.parametrize(
    "made, verdict",
    [
        (shares(0.14), YES),
        (shares(0.4, low=0.3), NO),
        (shares(0.4), DEPENDS),
        (shares(0.25, 0.1, low=0.25), OPEN),
    ],
)
def test_orthogonal(made, verdict):
    assert projection.orthogonal(made).verdict == verdict


@pytest.mark.parametrize(
    "made, verdict, shown",
    [
        (paths((0.05, 0.01)), YES, 0.05),
        (paths((0.2, 0.3)), NO, 0.2),
        (paths((0.05, 0.3)), DEPENDS, 0.3),
        (paths((0.1, 0.1), 0.1), OPEN, 0.1),
    ],
)
def test_learning_to_project(made, verdict, shown):
    claim = projection.learning(made)
    assert claim.verdict == verdict and claim.effect == pytest.approx(shown)
    assert ("1 to 1" in claim.answer) == (verdict == DEPENDS)


@pytest.mark.parametrize(
    "made, verdict, shown",
    [
        (falls(), YES, 1.0),
        (falls((0.1, 0.0), (0.2, 0.1)), NO, 0.2),
        (falls((1.0, 0.1)), DEPENDS, 0.1),
        (falls((0.5, 0.5), (0.5, 0.5), 0.4), OPEN, 0.5),
    ],
)
def test_descent(made, verdict, shown):
    claim = projection.descent(made)
    assert ("networks down to noise 10;" in claim.answer) == (verdict == DEPENDS)
    assert claim.verdict == verdict and claim.effect == pytest.approx(shown)


@pytest.mark.parametrize(
    "made, verdict",
    [
        (paths(eta=0.04), YES),  # 1.5^25 is more than 4000
        (paths(eta=0.25), NO),  # 1.5^4
        (paths(eta=0.1, eta_scatter=0.06), OPEN),
    ],
)
def test_assumption(made, verdict):
    claim = projection.assumption(made)
    assert claim.verdict == verdict
    if verdict == NO:
        assert claim.effect == pytest.approx(math.log(1.5) / 0.25 / math.log(4000), rel=0.01)


@pytest.mark.parametrize(
    "made, verdict",
    [
        (descents({50: 1.0, 5: 0.99}), YES),
        (descents({50: 0.5, 5: 0.0}), NO),
        (descents({50: 1.0, 10: 1.0, 5: 0.5}), DEPENDS),
        (descents({50: 0.95, 5: 0.95}, 0.05), OPEN),
    ],
)
def test_admissible(made, verdict):
    """The schedule with a leap is not asked."""
    assert projection.admissible(made).verdict == verdict


def test_what_is_proved_names_a_test_that_is_there():
    made = (
        projection.descent_step(identity(1e-7)),
        projection.convergence(descents({50: 1.0})),
        rules.generalises(),
    )
    for claim in made:
        assert claim.verdict == "proved"
        file, _, name = str(claim.proof).partition("::")
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8")
    assert "3 violated" in projection.convergence(descents({50: 1.0}, violations=1.5)).evidence


# --- gradient estimation


@pytest.mark.parametrize(
    "made, verdict, shown",
    [
        (nearest(0.5, 0.7), YES, 0.7),
        (nearest(2.0, 1.5), NO, 1.5),
        (nearest(1.0, 1.0), NO, 1.0),
        (nearest(2.0, 0.5), DEPENDS, 2.0),
        (nearest(1.0, 1.0, scatter=0.3), OPEN, 1.0),
    ],
)
def test_insight(made, verdict, shown):
    claim = rules.insight(made)
    assert claim.verdict == verdict and claim.effect == pytest.approx(shown)


FOUR = [(0.5, 0.01, YES), (2.0, 0.01, NO), (1.0, 0.01, NO), (0.98, 0.3, OPEN)]


@pytest.mark.parametrize("left, scatter, verdict", FOUR)
def test_both_ways_to_improve_upon_ddim(left, scatter, verdict):
    claim = rules.direction_before(schedules(left, 1.0, scatter))
    assert claim.verdict == verdict and claim.effect == pytest.approx(left)
    claim = rules.log_linear(schedules(1.0, left, scatter))
    assert claim.verdict == verdict and claim.effect == pytest.approx(left)


def test_a_way_that_helps_with_some_evaluations_only():
    table = schedules(0.3, 1.0).table
    table.loc[(table["budget"] == 10) & (table["gamma"] == 2.0), "value"] *= 4
    claim = rules.direction_before(Results(table))
    assert claim.verdict == DEPENDS and "With 5 " in claim.answer
    claim = rules.direction_before(schedules(0.3, 1.0, failed=True))
    assert claim.verdict == DEPENDS and claim.interval is None


@pytest.mark.parametrize(
    "best, scatter, verdict",
    [(1.6, 0.002, YES), (0.7, 0.002, NO), (1.0, 0.002, NO), (1.05, 0.1, OPEN)],
)
def test_gamma_above_one(best, scatter, verdict):
    claim = rules.gamma_above_one(sweep(best, scatter))
    assert claim.verdict == verdict and claim.effect == pytest.approx(best, abs=0.01)


@pytest.mark.parametrize("ours, scatter, verdict", FOUR)
def test_gamma_two_against_ddim(ours, scatter, verdict):
    claim = rules.gamma_two(race({"gradient_estimation": ours}, scatter=scatter))
    assert claim.verdict == verdict
    assert claim.effect == pytest.approx(ours) and claim.seeds == SEEDS
    assert ("power" in claim.evidence) == (verdict == OPEN)


def test_gamma_two_wins_on_one_problem_only():
    made = mixed(race({"gradient_estimation": 0.5}), race(), problem=PROBLEMS[0])
    claim = rules.gamma_two(made)
    assert claim.verdict == DEPENDS and "2 of 6" in claim.answer


@pytest.mark.parametrize(
    "best, scatter, verdict",
    [(2.0, 0.0, YES), (1.5, 0.0, NO), (2.1, 0.0, YES), (1.9, 0.4, OPEN)],
)
def test_gamma_two_is_the_best_value(best, scatter, verdict):
    """At 2.1 another value gains 1 %, which is less than matters."""
    table = sweep(best).table
    table["value"] *= np.exp(scatter * np.random.default_rng(0).normal(size=len(table)))
    assert rules.gamma_default(Results(table), order()).verdict == verdict


def test_gamma_two_is_best_in_some_cases():
    table, other = sweep(2.0).table, sweep(1.5).table
    table.loc[table["steps"] == 20] = other.loc[other["steps"] == 20]
    claim = rules.gamma_default(Results(table), order())
    assert claim.verdict == DEPENDS and "In 3 of 6" in claim.answer


@pytest.mark.parametrize("ours, scatter, verdict", FOUR)
def test_state_of_the_art(ours, scatter, verdict):
    made = race({"gradient_estimation": ours}, scatter=scatter)
    claim = rules.state_of_the_art(made, {"MNIST": None})
    assert claim.verdict == verdict
    assert claim.effect == pytest.approx(ours, rel=0.01)
    assert "not yet recorded" in claim.evidence
    assert ("not ahead of the best other sampler" in claim.answer) == (verdict == NO)


def test_one_rival_that_is_better_is_enough():
    claim = rules.state_of_the_art(race({"gradient_estimation": 0.8, RIVALS[0]: 0.5}), {})
    assert claim.verdict == NO and claim.effect == pytest.approx(1.6, rel=0.01)


def test_where_the_sampler_is_best_is_said():
    """Ahead at 3 evaluations only, which is fewer than the paper speaks of."""
    wins, loses = race({"gradient_estimation": 0.5}), race({"gradient_estimation": 2.0})
    made = mixed(wins, loses, budget=3)
    claim = rules.state_of_the_art(made, {})
    assert claim.verdict == NO and "with gamma = 2 at N = 3 (spirals" in claim.evidence
    assert summary.best_places(made) == "With gamma = 2 best in 3 of 9 cases, at 3 evaluations."
    partly = mixed(loses, made, problem=DIGITS)
    assert "2 of 9 cases" in summary.best_places(partly)
    standing = tables.standing(made).data["γ = 2 over the best other"]
    assert [text[:4] for text in standing[:3]] == ["0.50", "2.00", "2.00"]
    claim = rules.state_of_the_art(mixed(wins, loses, budget=10), {})
    assert claim.verdict == DEPENDS and claim.answer.endswith("the best at 10.")
    partly = mixed(loses, mixed(wins, loses, budget=10), problem=DIGITS)
    claim = rules.state_of_the_art(partly, {})
    assert claim.verdict == DEPENDS and "at 10, on 2 of 3 problems" in claim.answer
    claim = rules.state_of_the_art(mixed(partly, wins, budget=[5, 10]), {})
    assert claim.verdict == DEPENDS and "in 5 of 9 cases" in claim.answer


def test_a_seed_that_failed_counts_against_the_method_and_never_for_it():
    ours = race({"gradient_estimation": 0.5}, failed="gradient_estimation")
    assert rules.state_of_the_art(ours, {}).verdict == NO
    assert rules.gamma_two(ours).verdict == NO
    peer = race({"gradient_estimation": 0.5}, failed="unipc")
    assert rules.state_of_the_art(peer, {}).verdict == YES
    assert rules.gamma_two(race({"gradient_estimation": 0.5}, failed="ddim")).verdict == OPEN
    assert tables.against_peers(peer).data.shape == (9, 2 + len(PEERS))


def test_what_was_not_run_is_not_tested():
    assert {rules.latent().verdict, rules.coco().verdict} == {"not tested"}


# --- what rules and tables share


def test_only_few_evaluations_count():
    table = race({"gradient_estimation": 0.5}).table
    at_many = (table["method"] == "gradient_estimation") & (table["budget"] == 50)
    table.loc[at_many, "value"] = 5.0
    claim = rules.gamma_two(Results(table))
    assert claim.verdict == YES and "6 of 6" in claim.evidence


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
    at_end = comparisons.best_gamma(sweep(0.2), "error", PROBLEMS[0], 5)
    assert at_end.mean == pytest.approx(0.5)
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
    plain, best = comparisons.image_ratios(made, 5)
    assert (plain.mean, best.mean) == pytest.approx((0.8, 1.6))
    claim = rules.state_of_the_art(race(), {"MNIST": made, "CIFAR-10": None})
    assert "MNIST 0.80 [0.80, 0.80] times DDIM's and 1.60 [1.60, 1.60] times" in claim.evidence
    table = tables.images("MNIST", made, "Frechet distance")
    assert table.data["N = 5"]["γ = 2"] == "0.8 · 0.80 [0.80, 0.80]"
    assert table.data["N = 5"]["as many training images"] == "0.1"
    assert "error against the flow" in str(tables.images("MNIST", made, "error").caption)


def test_the_interval_that_is_shown_is_one_that_decides():
    low, high, wide = Interval(0.5, 0.4, 0.6, 8), Interval(2, 1.9, 2.1, 8), Interval(1, 0.1, 9, 8)
    assert rulings.rule({"a": low, "b": high, "c": wide}, rulings.less).key == "b"
    assert rulings.rule({"a": low, "c": wide}, rulings.less)[:2] == (OPEN, "c")
    favourable = rulings.rule({"a": high, "b": Interval(1, 0.99, 1.01, 8)}, rulings.less)
    assert favourable[:2] == (NO, "b")


@pytest.mark.parametrize(
    "interval, verdict",
    [((0.1, 0.2), YES), ((0.4, 0.5), NO), ((0.2, 0.4), OPEN), ((0.3, 0.3), YES)],
)
def test_limits(interval, verdict):
    low, high = interval
    made = Interval((low + high) / 2, low, high, 8)
    assert rulings.at_most(made, 0.3) == verdict
    opposite = {YES: NO, NO: YES, OPEN: OPEN}
    if low < high:
        assert rulings.at_least(made, 0.3) == opposite[verdict]


def test_how_many_trials_each_method_had():
    where = {"measure": "error", "data": "digits", "budget": 5}
    tried = Results(
        [
            tidy([1.0] * (2 if m == "unipc" else 1), {"variant": range(2 if m == "unipc" else 1)},
                 method=m, **where)
            for m in METHODS
        ]
    )  # fmt: skip
    counted = tables.trials(tried).data["N = 5"]
    assert counted["UniPC"] == 2 and counted["DDIM"] == 1


def test_rules_take_several_master_seeds_together(two_seeds):
    """A master seed brings seeds of its own, and every claim is there."""
    pooled = rules.verdicts(two_seeds)
    assert len(pooled) == 21 and all(claim.answer for claim in pooled)
    assert {claim.seeds for claim in pooled if claim.seeds} == {4}
