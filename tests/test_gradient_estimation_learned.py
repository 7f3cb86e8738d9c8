"""The learned sampler in chapter 4: its rules on made-up results, its parts, its units."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from conftest import randn, three

from companion import noise, samplers
from companion.experiments import Results, tidy
from companion.experiments.gradient_estimation import (
    learned_figures,
    learned_rivals,
    learned_verdicts,
    learned_weights,
)
from companion.experiments.gradient_estimation.learned_race import PARTS, TWO
from companion.experiments.gradient_estimation.learned_rivals import FIXED, LevelsOnly, WeightsOnly
from companion.samplers.learning import Asked, teacher_of

MIX = three()
SEEDS = 8
YES, NO, OPEN, DEPENDS = "supported", "not supported", "inconclusive", "depends"


def scattered(mean, seed, scatter):
    random = np.random.default_rng(seed).normal(size=SEEDS)
    return mean * np.exp(scatter * (random - random.mean()))


def race(means, scatter=0.01, distance=1.0, failed=None, far=None):
    """Two problems alike: error of each method that is not 1, distance of the learned sampler."""
    parts, methods = [], ("learned", *FIXED, *PARTS, TWO)
    for problem in ("a", "b"):
        for n in (3, 5):
            for i, method in enumerate(methods):
                mean = {**means, **(far or {} if problem == "b" else {})}.get(method, 1.0)
                values = scattered(mean, i, scatter)
                if method == failed:
                    values[-1] = math.nan
                where = {"problem": problem, "method": method, "budget": n}
                by_seed = {"seed": range(SEEDS)}
                parts.append(tidy(values, by_seed, measure="error", **where))
                away = scattered(distance if method == "learned" else 1.0, i, scatter)
                parts.append(tidy(away, by_seed, measure="distance", **where))
            for method in ("learned", TWO):
                where = {"problem": problem, "method": method, "budget": n}
                for name in ("sigmas", "weights", "second"):
                    steps = {"step": range(n)}
                    parts.append(tidy(np.linspace(9, 1, n), steps, measure=name, **where))
                for name in ("evaluations", "teacher_evaluations", "seconds"):
                    parts.append(tidy([100.0], {"measure": [name]}, **where))
        flow = scattered(1.0, 99, scatter)
        parts.append(
            tidy(flow, {"seed": range(SEEDS)}, measure="distance of the flow", problem=problem)
        )
    return Results(parts)


def transfer(over_fixed, scatter=0.01):
    parts = []
    for kind, ratio in over_fixed.items():
        for i, (method, mean) in enumerate(
            {"brought": ratio, "learned there": 0.5, "best fixed": 1.0}.items()
        ):
            where = {"kind": kind, "method": method, "budget": 5}
            values = scattered(mean, i, scatter)
            parts.append(tidy(values, {"seed": range(SEEDS)}, measure="error", **where))
    return Results(parts)


@pytest.mark.parametrize(
    "means, more, verdict",
    [
        ({"learned": 0.5}, {}, YES),
        ({"learned": 0.5, "deis": 0.4}, {}, NO),
        ({"learned": 0.99}, {}, NO),
        ({"learned": 0.9}, {"scatter": 0.5}, OPEN),
        ({"learned": 0.5}, {"far": {"learned": 1.2}}, DEPENDS),
        ({"learned": 0.5}, {"failed": "unipc"}, YES),
        ({"learned": 0.5}, {"failed": "learned"}, NO),
    ],
)
def test_ahead_of_every_fixed_sampler(means, more, verdict):
    claim = learned_verdicts.ahead(race(means, **more))
    assert claim.verdict == verdict
    assert claim.answer and "counts" in claim.evidence


@pytest.mark.parametrize(
    "means, verdict",
    [({"learned": 0.5}, YES), ({"learned": 0.5, "levels": 0.4}, NO), ({"learned": 0.98}, NO)],
)
def test_both_against_a_part(means, verdict):
    assert learned_verdicts.both(race(means)).verdict == verdict


@pytest.mark.parametrize(
    "distance, scatter, verdict", [(1.0, 0.01, YES), (1.3, 0.01, NO), (1.05, 0.2, OPEN)]
)
def test_as_near_as_the_flow(distance, scatter, verdict):
    made = race({}, distance=distance, scatter=scatter)
    assert learned_verdicts.as_near(made).verdict == verdict


@pytest.mark.parametrize(
    "over, verdict",
    [
        ({"another seed": 0.6, "guidance": 0.7}, YES),
        ({"another seed": 1.2, "guidance": 1.3}, NO),
        ({"another seed": 0.6, "guidance": 1.3}, DEPENDS),
    ],
)
def test_brought_to_another_denoiser(over, verdict):
    claim = learned_verdicts.transferred(transfer(over))
    assert claim.verdict == verdict
    if verdict == DEPENDS:
        assert "Ahead by 5 %: another seed, N = 5. Behind: guidance, N = 5" in claim.evidence


def test_tables_and_figure_of_made_up_results():
    made = race({"learned": 0.5})
    for table in (
        learned_figures.over_fixed(made), learned_figures.errors(made),
        learned_figures.errors(made, "distance"), learned_figures.over_parts(made),
        learned_figures.numbers(made), learned_figures.cost(made),
        learned_figures.transfer(transfer({"guidance": 0.7})),
    ):  # fmt: skip
        assert "<caption>" in table.to_html()
    assert "0.50 [" in learned_figures.over_fixed(made).to_html()
    assert len(learned_figures.learned(made, "a").axes) == 2


def test_images_of_a_made_up_record():
    parts = []
    for i, (method, mean) in enumerate({"learned": 0.6, "ddim": 2.0, "unipc": 1.0}.items()):
        for measure in ("error", "Frechet distance"):
            where = {"method": method, "budget": 5, "measure": measure}
            parts.append(tidy(scattered(mean, i, 0.01), {"seed": range(SEEDS)}, **where))
    for name, value in {"evaluations": 100, "teacher_evaluations": 50, "seconds": 7}.items():
        parts.append(tidy(3 * [float(value)], {"seed": range(3)}, measure=name, budget=5))
    parts.append(tidy([9.0, 1.0], {"step": range(2)}, measure="sigmas", budget=5))
    record = Results(parts, facts={"floor": 12.0}, settings={"samples": 512})
    told = learned_figures.on_images({"MNIST": record})
    assert "On MNIST" in told and "0.60 [" in told and "(UniPC)" in told
    assert f"({SEEDS} networks" in told
    shown = learned_figures.images("MNIST", record).to_html()
    assert "as many training images: 12" in shown and "of 512 samples" in shown
    shown = learned_figures.image_cost("MNIST", record).data
    assert shown.loc["N = 5", "as many samples drawn"] == "30"
    assert learned_figures.on_images({}) == ""


# --- units ---------------------------------------------------------------------------------------


def test_gradient_estimation_in_denoised_answers():
    """eq-ov-in-answers, against the sampler."""
    gamma, sigmas, x = 1.8, noise.karras(7, 20.0, 0.05).double(), 20 * randn(9, 2)
    theirs = samplers.gradient_estimation(MIX.denoiser, x, sigmas, gamma=gamma)
    levels = sigmas.tolist()
    before, u, shrunk = None, 0.0, 0.0
    for level, below in pairwise(levels):
        denoised, r = MIX.denoiser(x, level), below / level
        if before is not None:
            u = denoised - before - (gamma - 1) * shrunk * u
        x = r * x + (1 - r) * (denoised + (gamma - 1) * u)
        before, shrunk = denoised, 1 - r
    assert torch.allclose(x, theirs, atol=1e-12)


def test_weights_where_answers_change_evenly():
    ratio = 0.3
    sigmas = 20 * ratio ** np.arange(30)
    carried = learned_weights.gamma_carried_on(sigmas, 2.0)
    assert carried[-1] == pytest.approx(learned_weights.even_weight(2.0, ratio), abs=1e-4)
    assert learned_weights.midpoint_carried_on(sigmas)[:-1] == pytest.approx(0.5)
    gamma = learned_weights.even_gamma(0.5, ratio)
    assert gamma == pytest.approx(1 + 1 / (1 + ratio))
    assert learned_weights.even_weight(gamma, ratio) == pytest.approx(0.5)
    plain = learned_weights.carried_on([9.0, 3.0, 1.0], [0.0, 0.4, 0.3], [0.0, 0.0, 0.2])
    assert plain == pytest.approx([0.4, 0.5])


# --- rivals --------------------------------------------------------------------------------------


def test_parts_learn_what_they_say_and_leave_the_rest():
    asked = Asked(MIX.denoiser)
    teacher = teacher_of(asked, randn(64, 2, seed=1), 20.0, 100, 64)
    train, held = (teacher.part(i, 32, 64) for i in (0, 1))
    levels, facts = LevelsOnly(asked, 4, 20.0).run(train, held, 10)
    assert facts["error"] < facts["start_error"]
    for i in (1, 2):
        ours = samplers.multistep.midpoint_weights(
            [levels.sigmas[i], levels.sigmas[i - 1]], levels.sigmas[i + 1]
        )
        assert levels.weights[i] == pytest.approx(ours[0] - 1)
    weights, facts = WeightsOnly(asked, 4, 20.0).run(train, held, 10)
    assert facts["error"] < facts["start_error"]
    starts = [fixed.sigmas for fixed in samplers.learning.fixed(4, 20.0)]
    assert any(np.allclose(weights.sigmas, sigmas) for sigmas in starts)


def test_optimised_levels_weigh_answers_as_the_integrator_does():
    found = learned_rivals.optimised_levels(6, 40.0, 0.1)
    assert len(found) == 7 and found[0] == pytest.approx(40) and found[5] == pytest.approx(0.1)
    assert (found.diff() < 0).all()
    a, b = 2.0, 0.5
    grid = torch.linspace(1 / a, 1 / b, 200_001, dtype=torch.float64)
    for k, moment in enumerate(learned_rivals._moments(a, b, 3)):
        assert float((-(grid * a).log()).pow(k).mean()) == pytest.approx(moment, rel=1e-3)
