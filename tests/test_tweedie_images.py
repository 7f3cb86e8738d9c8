"""Chapter 2 on images: what a network is measured with, equal cost, the search, and the rules."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from companion.experiments import Results, tidy
from companion.experiments import tweedie as tw
from companion.experiments.images import recipe
from companion.experiments.tweedie import image_reasons as reasons
from companion.experiments.tweedie import image_verdicts as rules
from companion.experiments.tweedie.image_mixture import fitted, of_mixture
from companion.experiments.tweedie.image_network import EM, IMAGE_METHODS, STOPPED, ImageNetwork
from companion.experiments.tweedie.image_search import CRITERION, TRIALS, chosen, in_full
from companion.experiments.tweedie.methods import AMBIENT, CLEAN, CONSISTENCY, NAIVE, SURE

SMOKE = recipe("digits", "smoke", samples=64, solver_steps=3, tested=40, looked=0)
SUPPORTED, NOT, DEPENDS, OPEN = "supported", "not supported", "depends", "inconclusive"
UNTESTED = "not tested"
S_N = 0.5


# --- the reasons, on an exact denoiser ----------------------------------------------------------


@pytest.fixture(scope="module")
def exact():
    """Images drawn from a mixture, and its exact denoiser."""
    setting = ImageNetwork(**SMOKE).setting()
    mixture = fitted(setting.train, 5)
    setting = of_mixture(setting, mixture)

    def denoiser(x, sigma):
        return mixture.denoiser(x.flatten(1), sigma).reshape(x.shape)

    return setting, denoiser


def test_a_mixture_is_fitted_to_images():
    g = torch.Generator().manual_seed(0)
    centres = torch.tensor([-0.8, 0.8])[torch.arange(400) % 4 // 3]
    images = centres[:, None, None, None] + 0.1 * torch.randn(400, 1, 3, 3, generator=g)
    mixture = fitted(images, 2)
    order = mixture.means.mean(1).argsort()
    assert mixture.means.mean(1)[order].tolist() == pytest.approx([-0.8, 0.8], abs=0.02)
    assert mixture.weights[order].tolist() == pytest.approx([0.75, 0.25])
    assert mixture.stds.tolist() == pytest.approx([0.1, 0.1], abs=0.01)


def test_draws_of_the_mixture_take_the_place_of_the_images(exact):
    setting, _ = exact
    other = ImageNetwork(**SMOKE).setting()
    assert setting.train.shape == other.train.shape and setting.test.shape == other.test.shape
    assert not torch.equal(setting.train, other.train)
    assert setting.data_std == pytest.approx(float(setting.train.std()))
    assert setting.frechet(setting.test) == pytest.approx(0, abs=1e-3)
    assert other.frechet(setting.test) > 0.1


def test_an_exact_denoiser_has_no_fault(exact):
    setting, denoiser = exact
    number = len(setting.test)
    found = Results(reasons.answers(setting, denoiser, (0.5, 1.0), S_N, number, 0))
    for level in (0.5, 1.0):
        error = found.value(measure="error", level=level)
        assert found.value(measure="bias", level=level) < 3 * error / math.sqrt(number)
        assert abs(found.value(measure="overshoot", level=level)) < 0.05
    seen = setting.test + S_N * torch.randn(
        setting.test.shape, generator=torch.Generator().manual_seed(1)
    )
    walked = Results(reasons.drift(setting, denoiser, seen, S_N, 0))
    assert walked.table["value"].iloc[0] == 0 and walked.table["value"].max() < 0.06
    looked = Results(reasons.jacobians(setting, denoiser, (0.5, 1.0), S_N, 30, 0))
    assert looked.where(measure="negative share")["value"].max() < 1e-3
    assert looked.where(measure="asymmetry")["value"].max() < 1e-3
    for level in (0.5, 1.0):  # the trace tells the error
        told = level * S_N * math.sqrt(looked.value(measure="trace", level=level))
        assert told == pytest.approx(found.value(measure="error", level=level), rel=0.15)


def test_faults_are_seen(exact):
    setting, denoiser = exact
    mean = setting.test.mean(0)
    faults = {
        "overshoot": lambda x, s: mean + 1.3 * (denoiser(x, s) - mean),
        "bias": lambda x, s: denoiser(x, s) + 0.2,
    }
    for measure, wrong in faults.items():
        found = Results(reasons.answers(setting, wrong, (1.0,), S_N, 400, 0))
        assert found.value(measure=measure) > 0.1
    drifting = Results(
        reasons.drift(setting, lambda x, s: denoiser(x, s) + 0.3 * (S_N - s), setting.test, S_N, 0)
    )
    assert drifting.table["value"].max() > 0.1
    turned = Results(reasons.jacobians(setting, lambda x, s: -x.roll(1, -1), (1.0,), S_N, 2, 0))
    assert turned.value(measure="negative share") > 0.4
    assert turned.value(measure="asymmetry") > 0.4


def test_noise_that_is_left_and_the_width_of_modes(exact):
    setting, _ = exact
    clean = torch.zeros(50, 1, 4, 4)
    clean[:, :, :, 2:] = torch.rand(50, 1, 4, 2, generator=torch.Generator().manual_seed(0))
    noisy = clean + 0.3 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    assert reasons.left_noise(clean, clean) == 0
    assert reasons.left_noise(noisy, clean) == pytest.approx(0.3, rel=0.1)
    assert math.isnan(reasons.left_noise(noisy, torch.rand(50, 1, 4, 4)))
    assert reasons.mode_width(setting.classifier, setting.test, setting.test) == pytest.approx(1)
    few = setting.test[:5]
    assert math.isnan(reasons.mode_width(setting.classifier, few, setting.test))


# --- equal cost ---------------------------------------------------------------------------------


class Spent:
    """A setting that trains nothing and counts what it would have cost."""

    def __init__(self, part):
        self.setting = part.setting()
        self.evaluations = 0

    def __getattr__(self, name):
        return getattr(self.setting, name)

    def fit(self, goal, seed, *, images, start, steps, batch, lr):
        name = type(goal).__name__
        each = {"Sure": 2, "Sum": 2}.get(name, 1)
        if name == "Sum":
            agree = goal.objectives[1]
            assert batch % agree.every == 0
            each = 1 + agree.evaluations / agree.every
        self.evaluations += each * steps * batch

        def denoiser(x, sigma):
            self.evaluations += len(x)
            return 0.9 * x

        return denoiser


@pytest.mark.parametrize(
    ("method", "settings"),
    [(CLEAN, {}), (NAIVE, {}), *[(m, in_full(s, 1.0)) for m in TRIALS for s in TRIALS[m]],
     (AMBIENT, {"clean_share": 0.1})],
)  # fmt: skip
def test_every_method_has_as_many_evaluations(method, settings):
    sizes = {**SMOKE, "images": 1500, "steps": 400, "batch": 64}
    part = ImageNetwork(**{**sizes, **settings}, method=method)
    spent = Spent(part)
    part.trained(spent)
    assert spent.evaluations == pytest.approx(400 * 64, rel=0.02)


def test_a_teacher_trains_and_a_share_of_clean_images_is_clean(tmp_path):
    part = ImageNetwork(**SMOKE, method=CONSISTENCY, begin=0.5, teacher=True)
    setting = part.setting()
    setting._cache = tmp_path  # a network with a teacher has a key of its own in the cache
    first = part.trained(setting)
    again = part.trained(setting)
    x = setting.test[:2]
    torch.testing.assert_close(first(x, 0.5), again(x, 0.5))
    assert len(list(tmp_path.iterdir())) == 2
    seen = []

    def fit(goal, seed, *, images, **options):
        seen.append((goal.sigma_data_noise, images))

    setting.fit = fit
    ImageNetwork(**SMOKE, clean_share=0.1).trained(setting)
    levels, images = seen[0]
    clean = levels == 0
    assert int(clean.sum()) == 10 and torch.equal(images[clean], setting.train[clean])
    assert float((images - setting.train)[~clean].std()) == pytest.approx(0.5, rel=0.05)


def test_settings_that_make_no_sense_are_refused():
    for change, message in (
        ({"method": "best"}, "method: got 'best'"),
        ({"source": "points"}, "source: got"),
        ({"first": "naive"}, "first: got"),
        ({"clean_share": 0.1, "method": SURE}, "clean_share: allowed with 'ambient' only"),
        ({"teacher": True}, "teacher: allowed with begin above 0"),
    ):
        with pytest.raises(ValueError, match=message):
            ImageNetwork(**change)


# --- the experiments ----------------------------------------------------------------------------


def test_each_method_has_as_many_trials_and_starts_with_its_defaults():
    assert {len(trials) for trials in TRIALS.values()} == {6}
    assert all(trials[0] == {} for trials in TRIALS.values())
    for trials in TRIALS.values():
        assert len({str(t) for t in trials}) == 6
        for settings in trials:
            ImageNetwork(**in_full(settings, 2e-3))


def test_the_search_chooses_what_noisy_images_say(smoke, monkeypatch):
    search = tw.ImageSearch(**recipe("digits", "smoke"), trials=3, shorter=1, tested=40)
    values = {AMBIENT: [3.0, 1.0, 2.0], SURE: [math.nan, math.nan, math.nan],
              CONSISTENCY: [1.0, 2.0, 3.0], EM: [math.nan, 5.0, 4.0]}  # fmt: skip

    class Told:
        seed = 0
        count = dict.fromkeys(values, 0)

        def run(self, part):
            number = self.count[part.method]
            self.count[part.method] += 1
            row = tidy([values[part.method][number]], {"seed": [100]}, measure=CRITERION,
                       method=part.method)  # fmt: skip
            return Results(row, facts={"classifier": "made up"})

    found = search.run(Told())
    assert found.facts["chosen"] == {
        AMBIENT: {"lr": 0.5}, SURE: {}, CONSISTENCY: {}, EM: {"rounds": 8},
    }  # fmt: skip
    assert found.facts["names"][SURE] == "none", "all trials failed"
    told = Results(found.table, facts=found.facts)
    session = type("Session", (), {"latest": lambda self, cls: told})()
    assert chosen(session, AMBIENT, 2e-3) == {"lr": 1e-3}
    assert chosen(session, CLEAN, 2e-3) == {}


def searched_levels(**chosen):
    """A search in which ambient has 2 with its defaults and 1 else, and consistency 4 and 3."""
    rows = [
        tidy([value], {"trial": [trial]}, measure="Frechet distance", method=method)
        for method, trial, value in (
            (AMBIENT, "as it is", 2.0), (AMBIENT, "added_mean -0.4", 1.0),
            (CONSISTENCY, "as it is", 4.0), (CONSISTENCY, "begin 0.5", 3.0),
        )
    ]  # fmt: skip
    names = {m: ", ".join(f"{k} {v}" for k, v in s.items()) for m, s in chosen.items()}
    return Results(rows, facts={"chosen": chosen, "names": names})


def test_levels_that_one_method_did_not_try_are_told():
    told = tw.image_tables.same_levels
    found = searched_levels(**{AMBIENT: {"added_mean": -0.4}, CONSISTENCY: {"begin": 0.5}})
    assert "1.5 times the distance of ambient only" in told(found)  # not 3: both with defaults
    same = searched_levels(**{AMBIENT: {"lr": 0.5}, CONSISTENCY: {"begin": 0.5}})
    assert told(same) == ""


def with_some_clean(distance=1.0, failed=False):
    """A race of noisy only (error 3) and clean only (1), and 1 % of images clean (error 1.5)."""

    def rows(method, share, error, frechet):
        where = {"method": method, "noise": 0.5, "clean_share": share}
        scatter = [1.0, 1.01, 1.02]
        return [
            tidy([error * v for v in scatter], {"seed": range(3)}, measure="error", level=0.5,
                 **where),
            tidy([frechet * v**2 for v in scatter], {"seed": range(3)},
                 measure="Frechet distance", **where),
        ]  # fmt: skip

    race = Results([*rows(AMBIENT, 0.0, 3, 10), *rows(CLEAN, 0.0, 1, 10)])
    few = Results(rows(AMBIENT, 0.01, math.nan if failed else 1.5, 10 * distance))
    return race, replace(few, settings={"noise": 0.5})


def test_some_clean_images_are_told_by_how_far_they_go():
    told = tw.few_clean.reading
    assert "error at σₙ/2 goes 75% [75%, 75%] of the way" in told(*with_some_clean())
    assert told(*with_some_clean()).endswith("Whether samples get nearer is undecided.")
    assert told(*with_some_clean(distance=0.5)).endswith("Samples get nearer too.")
    assert told(*with_some_clean(distance=2)).endswith("Samples get farther.")
    assert told(*with_some_clean(failed=True)) == ""
    ratios = tw.few_clean.over_noisy(*with_some_clean(distance=0.5), 0.01)
    assert [ratio.mean for ratio in ratios.values()] == pytest.approx([0.5, 0.5])
    assert tw.few_clean.ratio_of([1.0], [1.0]) is tw.few_clean.ratio_of([1, 2], [1]) is None


def bridged(**values):
    """A bridge with errors at two levels and distances, in three seeds of nearly equal values."""
    measures = [{"measure": "exact error", "level": v} for v in (0.5, 2.0)]
    rows = [
        tidy([value * (1 + seed / 100) for seed in range(3)], {"seed": range(3)},
             method=method, **where)
        for method, found in values.items()
        for where, value in zip([*measures, {"measure": "Frechet distance"}], found)
    ]  # fmt: skip
    return Results(rows)


def test_the_bridge_says_where_consistency_helps_and_what_samples_follow():
    told = tw.image_tables.bridge_reading
    found = bridged(**{CLEAN: (1, 1, 1), AMBIENT: (3, 2, 2), CONSISTENCY: (2, 3, 3)})
    assert told(found) == (
        "Consistency has a lower error than ambient only at 0.5 σₙ. Consistency has a higher error "
        "than ambient only at 2 σₙ. Ordered by the distance of their samples, the methods are in "
        "the order of their errors at 2 σₙ. At 0.5 σₙ, errors put them in another order."
    )
    neither = bridged(**{CLEAN: (1, 1, 3), AMBIENT: (2, 2, 2), CONSISTENCY: (2, 2, 1)})
    assert told(neither).startswith("Both errors are too near to tell at 0.5 and 2 σₙ.")
    assert told(neither).endswith(
        "At 0.5 and 2 σₙ, errors put them in another order than distances."
    )
    assert "order" not in told(bridged(**{AMBIENT: (1, 1, 1), CONSISTENCY: (2, 2, 2)}))
    assert told(bridged(**{AMBIENT: (1, math.nan, 1), CONSISTENCY: (2, 2, 2)})) == ""


def test_consistency_takes_over_what_the_ambient_loss_chose():
    chosen_both = {AMBIENT: {"added_mean": -0.4, "lr": 0.5}, CONSISTENCY: {"lr": 2.0}}
    told = Results(pd.DataFrame({"value": []}), facts={"chosen": chosen_both})
    session = type("Session", (), {"latest": lambda self, cls: told, "seed": 3})()
    parts = tw.ImageSharedSettings(**recipe("digits", "smoke"), seeds=2).parts(session)
    assert [p.network_seed for p in parts] == [3, 4]
    for part in parts:
        assert (part.method, part.added_mean, part.lr) == (CONSISTENCY, -0.4, 2e-3)


def test_a_failed_training_leaves_its_ratio_empty(smoke):
    race = smoke.run(tw.ImageRace)
    table = race.table.copy()
    failed = table["method"].eq(CONSISTENCY) & table["measure"].eq("error") & table["seed"].eq(0)
    assert failed.any()
    table.loc[failed, "value"] = math.nan
    shown = tw.image_tables.errors_by_level(replace(race, table=table)).data
    assert list(shown["ratio"]) == ["", ""]
    assert "" not in list(tw.image_tables.errors_by_level(race).data["ratio"])


def test_every_experiment_runs_and_is_shown(smoke):
    search = smoke.run(tw.ImageSearch)
    assert len(search.labels("trial")) == 1 and search.table["value"].notna().any()
    race, few, bridge = (smoke.run(e) for e in (tw.ImageRace, tw.ImageFewClean, tw.ImageBridge))
    shared = smoke.run(tw.ImageSharedSettings)
    assert set(race.labels("method")) == {*IMAGE_METHODS, STOPPED}
    for method in IMAGE_METHODS:
        assert len(race.values(measure="Frechet distance", method=method)) == 2
        assert len(race.values(measure="error", method=method, level=0.5)) == 2
    assert race.tensor("em 0.5").shape[1:] == (1, 8, 8)
    assert list(few.labels("clean_share")) == [0.1]
    assert set(bridge.labels("method", measure="exact error")) == {AMBIENT, CONSISTENCY}
    tables = tw.image_tables
    shown = [
        tables.settings(search), tables.reasons(race), tw.few_clean.table(race, few),
        tables.bridge(bridge), tables.shared_settings(race, shared),
        tables.errors_by_level(race),
    ]  # fmt: skip
    assert [len(table.data) for table in shown] == [4, 6, 3, 3, 3, 2]
    assert tw.image_figures.search(search).axes


# --- the rules ----------------------------------------------------------------------------------


def scattered(mean, number, scatter, seeds=5):
    logs = np.random.default_rng(number).normal(size=seeds)
    return mean * np.exp(scatter * (logs - logs.mean()))


def record(distances, scatter=0.01, errors=None, searched=True, share=0.0):
    """Frechet distances by method, and errors, as long as there are any."""
    tables = []
    for measure, means in (("Frechet distance", distances), ("error", errors or distances)):
        for number, (method, mean) in enumerate(means.items(), 10 if share else 0):
            level = {"level": 0.5} if measure == "error" else {"level": math.nan}
            tables.append(
                tidy(scattered(mean, number, scatter), {"seed": range(5)}, measure=measure,
                     method=method, noise=0.5, clean_share=share, **level)
            )  # fmt: skip
    facts = {"chosen": {}} if searched else {}
    return Results(tables, facts=facts, settings={"noise": 0.5})


def against(ratio):
    return {CLEAN: 8.0, AMBIENT: 10.0, SURE: 10.0, CONSISTENCY: 10 * ratio, EM: 10.0}


CASES = [(0.5, 0.01, SUPPORTED), (1.0, 0.01, NOT), (2.0, 0.01, NOT), (0.9, 0.5, OPEN)]


@pytest.mark.parametrize(("ratio", "scatter", "verdict"), CASES)
def test_consistency_on_images(ratio, scatter, verdict):
    claim = rules.consistency_on_images({"MNIST": record(against(ratio), scatter)})
    assert claim.verdict == verdict and claim.seeds == 5
    assert "change our mind" in claim.evidence or "overturn" in claim.evidence


def test_consistency_may_depend_on_the_images():
    two = {"A": record(against(0.5)), "B": record(against(2.0))}
    claim = rules.consistency_on_images(two)
    assert claim.verdict == DEPENDS and "B with noise 0.5" in claim.answer


@pytest.mark.parametrize(("ratio", "scatter", "verdict"), CASES)
def test_em(ratio, scatter, verdict):
    means = {**against(1.0), EM: 10 * ratio}
    assert rules.by_em({"MNIST": record(means, scatter)}).verdict == verdict


def test_em_may_beat_some_rivals_only():
    means = {**against(0.3), EM: 6.0}
    claim = rules.by_em({"MNIST": record(means)})
    assert claim.verdict == DEPENDS and "consistency" not in claim.answer
    assert "ambient" in claim.answer


@pytest.mark.parametrize(
    ("distance", "error", "scatter", "verdict"),
    [
        (8.0, 8.0, 0.01, SUPPORTED),
        (12.0, 12.0, 0.01, NOT),
        (8.0, 12.0, 0.01, DEPENDS),
        (8.5, 8.5, 0.5, OPEN),
    ],
)
def test_few_clean_images(distance, error, scatter, verdict):
    race = {"MNIST": record(against(1.0), scatter)}
    few = record({AMBIENT: distance}, scatter, {AMBIENT: error}, share=rules.FEW)
    claim = rules.few_clean(race, {"MNIST": few})
    assert claim.verdict == verdict and "With noisy images alone" in claim.evidence


def test_few_clean_images_are_paired_with_the_same_seeds():
    race = record(against(1.0), 0.3)
    few = record({AMBIENT: 8.0}, 0.3, share=rules.FEW)
    three = replace(few, table=few.table[few.table["seed"].isin([1, 2, 4])])
    again = replace(race, table=race.table[race.table["seed"].isin([1, 2, 4])])
    paired, alike = (rules.few_clean({"MNIST": r}, {"MNIST": three}) for r in (race, again))
    assert paired.interval is not None and paired.interval == alike.interval
    assert paired.seeds == 3


def failing(results, method):
    table = results.table.copy()
    table.loc[(table["method"] == method) & (table["seed"] == 1), "value"] = math.nan
    return replace(results, table=table)


def test_a_failed_training_leaves_it_open():
    race = record(against(0.5))
    for method in (AMBIENT, CONSISTENCY):
        claim = rules.consistency_on_images({"MNIST": failing(race, method)})
        assert claim.verdict == OPEN and "a training failed" in claim.evidence
    assert rules.by_em({"MNIST": failing(race, EM)}).verdict == OPEN
    few = record({AMBIENT: 8.0}, share=rules.FEW)
    for one, other in ((failing(race, CLEAN), few), (race, failing(few, AMBIENT))):
        assert rules.few_clean({"MNIST": one}, {"MNIST": other}).verdict == OPEN


def test_without_a_searched_record_nothing_is_said():
    old, one = record(against(0.5), searched=False), record(against(0.5))
    alone = replace(one, table=one.table[one.table["seed"] == 0])
    few = record({AMBIENT: 8.0}, share=rules.FEW)
    for records in ({}, {"MNIST": None}, {"MNIST": old}, {"MNIST": alone}):
        assert rules.consistency_on_images(records).verdict == UNTESTED
        assert rules.by_em(records).verdict == UNTESTED
        assert rules.few_clean(records, {"MNIST": few}).verdict == UNTESTED
    other = record({AMBIENT: 8.0}, share=0.3)
    assert rules.few_clean({"MNIST": one}, {"MNIST": other}).verdict == UNTESTED
    assert rules.few_clean({"MNIST": one}, {"MNIST": None}).verdict == UNTESTED
    without = record({AMBIENT: 10.0, CONSISTENCY: 9.0})
    assert rules.by_em({"MNIST": without}).verdict == UNTESTED
