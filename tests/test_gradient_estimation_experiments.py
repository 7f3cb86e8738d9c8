"""The experiments of chapter 4 at smoke size, each alone, and what only they can get wrong."""

import subprocess
import sys
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.text import Text

from companion import plotting
from companion.experiments import gradient_estimation as ge
from companion.experiments.experiment import find
from companion.experiments.gradient_estimation import problems
from companion.experiments.gradient_estimation.fall import fall_by_step
from companion.experiments.gradient_estimation.methods import METHODS, OFFICIAL, schedule
from companion.experiments.gradient_estimation.race import best_setting

matplotlib.use("Agg")

# Said by diffusers' own code, at each of its steps.
pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")


@pytest.mark.parametrize("experiment", find("gradient_estimation"), ids=lambda e: e.name())
def test_it_measures_finite_numbers(experiment, smoke):
    results = smoke.run(experiment)
    assert len(results.table) and np.isfinite(results.table["value"]).all()
    assert all(np.isfinite(array).all() for array in results.arrays.values())
    keys = [name for name in results.table if name != "value"]
    assert not results.table.duplicated(keys).any()


def test_verdicts_figures_and_tables_of_a_run(smoke):
    """They take what experiments give; every claim of the chapter is there."""
    claims = ge.verdicts(smoke)
    assert len(claims) == 21 and all(claim.answer for claim in claims)
    race, sweep = smoke.run(ge.Race), smoke.run(ge.GammaSweep)
    ge.figures.race(race)
    ge.figures.race(race, "distance")
    ge.figures.gamma(sweep)
    ge.figures.order(smoke.run(ge.Order))
    ge.figures.schedules(smoke.run(ge.FourSchedules))
    ge.figures.admissible(smoke.run(ge.Descents))
    ge.figures.orthogonal(smoke.run(ge.TangentShare))
    ge.figures.drawn(ge.digits_of_the_record(smoke))
    assert ge.tables.falls(smoke.run(ge.Falls)).data.notna().all(axis=None)
    assert len(ge.tables.standing(race).data) == 9
    assert len(ge.tables.nearest_to_gradient(smoke.run(ge.NearestToGradient)).data) == 2
    assert ge.tables.settings(smoke.run(ge.SettingsTried)).data.notna().all(axis=None)
    assert len(ge.tables.best_gammas(sweep).data) == 4
    assert len(ge.in_short(smoke).claims) == 21
    plt.close("all")


def test_figures_can_be_read_on_a_phone(smoke):
    """Text is 9 px or more where a figure is as wide as a folded block on a phone, 320 px."""
    race = smoke.run(ge.Race)
    with plotting.style():
        drawn = (
            ge.figures.race(race),
            ge.figures.arrows(),
            ge.figures.field(),
            ge.learned_figures.learned(smoke.run(ge.LearnedRace)),
        )
    for figure in drawn:
        shrink = 320 / (figure.get_figwidth() * figure.dpi + 12)  # with its margin
        texts = [t for t in figure.findobj(Text) if t.get_text()]
        assert min(t.get_fontsize() for t in texts) * figure.dpi / 72 * shrink >= 9
    plt.close("all")


def test_the_extrapolated_arrow_ends_nearest_to_the_flow():
    """As its caption says."""
    ax = ge.figures.arrows().axes[0]
    end = np.array(ax.lines[1].get_xydata()[-1])
    named = {note.get_text(): np.array(note.xy) for note in ax.texts if note.get_text()}
    away = {name: float(np.linalg.norm(xy - end)) for name, xy in named.items() if "σ" not in name}
    assert min(away, key=away.get) == "extrapolated, γ = 2"
    assert away["direction now: DDIM"] < away["direction before"]
    plt.close("all")


# --- settings and schedules


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("budget", [5, 10])
def test_every_setting_takes_as_many_evaluations_as_it_says(method, budget):
    """Heun's method takes two a step but for its last."""
    asked = []

    def denoiser(x, sigma):
        asked.append(sigma)
        return 0.5 * x

    for sampler in ge.variants(method, budget, (1.5, 2.0)).values():
        asked.clear()
        sigmas = schedule(method, budget, "log", 40.0, 0.1)
        sampler(denoiser, torch.randn(4, 2), sigmas)
        assert len(asked) == (budget - (budget + 1) % 2 if method == "heun" else budget)


def test_settings_that_are_tried():
    assert list(ge.variants("unipc", 5)) == ["2 bh1", "3 bh1", "2 bh2", "3 bh2"]
    assert list(ge.variants("unipc", 10)) == ["2 bh2", "3 bh2"]
    assert list(ge.variants("ge-chosen", 5, (1.5,))) == ["γ 1.5"]
    with pytest.raises(ValueError, match="method: got 'euler'"):
        ge.variants("euler", 5)
    assert len(ge.SettingsTried().schedules(5)) == 18


def test_official_schedules():
    for name in OFFICIAL:
        sigmas = ge.official(name, 10)
        assert len(sigmas) == 11 and (sigmas[1:] < sigmas[:-1]).all()
        assert sigmas[-1] == pytest.approx(0.01, rel=0.02)
    even, ours = ge.official("DDIM", 10), ge.official("log-linear", 10)
    assert ours[0] == pytest.approx(40.0)
    assert ours[-2] == pytest.approx(float((even[-2] * even[-1]).sqrt()))
    ratios = ours[1:-1] / ours[:-2]
    assert torch.allclose(ratios, ratios[:1].expand_as(ratios), rtol=1e-4)


def test_the_best_setting_is_finite():
    from companion.experiments import Results, tidy

    where = {"data": "digits", "method": "ddim", "budget": 5}
    tried = Results(tidy([float("nan"), 2.0, 1.0], {"variant": ["a", "b", "c"]}, **where))
    assert best_setting(tried, "digits", "ddim", 5)["variant"] == "c"


# --- measures


def test_where_the_flow_ends():
    """Against the exact flow of one Gaussian, which shrinks x by a known factor."""
    from companion.oracles import GaussianMixture

    z = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    end, off = problems.converged(GaussianMixture([[0.0, 0.0]], 1.0).denoiser, z, 40.0, 160)
    exact = 40 * z / (1 + 40.0**2) ** 0.5
    assert (end - exact).norm(dim=1).mean() < 1e-3
    assert 0 < off < 0.01


def test_errors_and_distances_are_of_each_seed():
    a, b = torch.zeros(6, 2), torch.zeros(6, 2)
    b[3:] = torch.tensor([3.0, 4.0])
    assert problems.error_by_seed(a, b, 2).tolist() == [0.0, 5.0]
    distances = problems.distance_by_seed(b, torch.zeros(3, 2), 2, 16)
    assert distances[0] == 0 and distances[1] > 1


def test_networks_come_back_from_their_weights(session):
    """One problem for all seeds: the r-th part of a batch goes through the r-th network."""
    known = problems.problems(session, 2)
    assert list(known) == list(problems.PROBLEMS)
    for problem in known.values():
        z = problem.noise(session, 1, 8)
        assert z.shape == (8, *problem.shape)
        both = problem.denoiser(z, 1.0)
        assert torch.allclose(both[:4], problem.first(z[:4], 1.0), atol=1e-6)
    learned = known[problems.LEARNED]
    assert not torch.allclose(learned.denoiser(z.flatten(1)[:8, :2], 1.0)[4:],
                              learned.first(z.flatten(1)[4:, :2], 1.0))  # fmt: skip


def test_falls_of_exact_and_of_no_descent():
    """1 if a step is along the exact gradient, 0 if it goes nowhere, between them halfway."""
    from companion.oracles import Empirical

    points = Empirical(torch.tensor([[0.0, 0.0], [100.0, 0.0]]))
    x = torch.tensor([[3.0, 4.0], [-6.0, 8.0]])
    sigmas = torch.tensor([10.0, 4.0, 2.0])
    answers = (
        (lambda x, _: points.project(x), 1.0),
        (lambda x, _: x, 0.0),
        (lambda x, _: 0.5 * (x + points.project(x)), 0.5),
    )
    for denoiser, expected in answers:
        falls = fall_by_step(points, denoiser, x, sigmas)
        assert torch.allclose(falls, torch.full((2, 2), expected), atol=1e-5)


# --- a pretrained model


def test_a_pretrained_model_on_disk(session, tmp_path):
    """A folder that diffusers wrote, without access to the Hub."""
    ge.save_tiny_model(tmp_path / "model")
    results = session.run(ge.PretrainedRace(model=str(tmp_path / "model")))
    assert set(results.labels("method")) == {"ddim", "gradient_estimation", "unipc"}
    assert not ge.PretrainedRace(model=str(tmp_path / "nothing")).possible()


def test_its_scheduler_draws_what_the_sampler_draws(session):
    """The chapter's pipeline, without clipping."""
    assert session.run(ge.InAPipeline).value(measure="mean difference") < 1e-4


# --- the benchmark


def test_the_benchmark_runs():
    script = Path(__file__).parents[1] / "benchmarks" / "samplers.py"
    sizes = ["--points", "8", "--steps", "3", "--rounds", "2", "--budgets", "3"]
    done = subprocess.run([sys.executable, script, *sizes], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    assert any("ours: gradient estimation" in row for row in rows)
    # The same steps by other hands give the same error: the first table.
    cells = {row.split("|")[1].strip(): row.split("|")[4].strip() for row in rows[: len(rows) // 2]}
    for peer in ("diffusers: DDIM", "smalldiffusion: DDIM"):
        assert cells.get(peer, cells["ours: DDIM"]) == cells["ours: DDIM"]
    assert cells["ours: gradient estimation"] == cells["ours: gradient estimation as a scheduler"]
