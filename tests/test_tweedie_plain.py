"""Chapter 2 on images: clean and naive training with searched settings, and the race with them."""

import math

import numpy as np
import pandas as pd
import pytest

from companion.experiments import Results, tidy
from companion.experiments import tweedie as tw
from companion.experiments.tweedie import image_tables, image_verdicts
from companion.experiments.tweedie.image_plain import PLAIN_TRIALS
from companion.experiments.tweedie.image_search import CRITERION, TRIALS
from companion.experiments.tweedie.methods import AMBIENT, CLEAN, NAIVE

SETTINGS = {"data": "mnist", "steps": 5, "seeds": 2, "methods": [CLEAN], "noises": [0.5]}


class Stub:
    """A session whose search has chosen what it is given, and whose networks have values."""

    seed = 3

    def __init__(self, chosen=None, values=()):
        facts = {"chosen": chosen, "names": {name: str(s) for name, s in (chosen or {}).items()}}
        self.found, self.values = Results(pd.DataFrame({"value": []}), facts=facts), iter(values)

    def latest(self, experiment):
        return self.found

    def run(self, part):
        return Results(
            tidy([next(self.values)], {"seed": [1]}, measure=CRITERION, method=part.method),
            facts={"classifier": "told"},
        )


def smoke(experiment, **settings):
    return experiment(**{**experiment.sizes["smoke"], **settings})


def test_all_methods_have_as_many_trials():
    assert {len(t) for t in PLAIN_TRIALS.values()} == {len(t) for t in TRIALS.values()}
    experiment = smoke(tw.ImagePlainSearch, trials=6)
    tried = [(m, str(s)) for m, _, s in experiment.tried()]
    assert len(tried) == len(set(tried)) == 12
    assert [part.method for part in experiment.parts(Stub())] == [m for m, _ in tried]
    rates = sorted(part.lr for part in experiment.parts(Stub()) if part.method == NAIVE)
    assert rates == pytest.approx([0.5e-3, 1e-3, 1e-3, 1e-3, 2e-3, 2e-3])


def test_the_search_takes_the_least_and_no_failed_training():
    session = Stub(values=[5, math.nan, 4, math.nan, 6, math.nan])
    found = smoke(tw.ImagePlainSearch, trials=3).run(session)
    assert found.facts["chosen"] == {CLEAN: {"lr": 0.5}, NAIVE: {}}
    assert found.facts["names"] == {CLEAN: "lr 0.5", NAIVE: "none"}
    assert found.facts["classifier"] == "told"


def test_only_what_left_its_defaults_is_trained_again():
    session = Stub({CLEAN: {"lr": 2.0}, NAIVE: {}})
    parts = smoke(tw.ImagePlain).parts(session)
    assert [(p.method, p.network_seed, p.lr) for p in parts] == [(CLEAN, 3, 2e-3), (CLEAN, 4, 2e-3)]
    nothing = smoke(tw.ImagePlain).run(Stub({CLEAN: {}, NAIVE: {}}))
    assert len(nothing.table) == 0 and nothing.facts["chosen"] == {CLEAN: "{}", NAIVE: "{}"}


def record(chosen, settings=SETTINGS, **distances):
    rows = [
        tidy([value, value + 1], {"seed": [0, 1]}, measure="Frechet distance", method=method,
             noise=0.5, clean_share=0.0)
        for method, value in distances.items()
    ]  # fmt: skip
    arrays = {f"{method} 0.5": np.array([value]) for method, value in distances.items()}
    return Results(rows, arrays, {"chosen": chosen, "floor": 1.0}, settings=settings)


def test_searched_networks_take_the_place_of_those_with_defaults():
    race = record({AMBIENT: "lr 2.0"}, **{CLEAN: 8.0, NAIVE: 30.0, AMBIENT: 10.0})
    plain = record({CLEAN: "lr 2.0", NAIVE: "as it is"}, {**SETTINGS, "methods": []}, clean=6.0)
    both = tw.with_searched(race, plain)
    where = {"measure": "Frechet distance", "noise": 0.5}
    for method, values in ((CLEAN, [6, 7]), (NAIVE, [30, 31]), (AMBIENT, [10, 11])):
        assert both.values(method=method, **where).tolist() == values
    assert both.tensor("clean 0.5").item() == 6 and both.tensor("naive 0.5").item() == 30
    assert list(both.facts["chosen"]) == [AMBIENT, CLEAN, NAIVE] and both.facts["floor"] == 1
    assert race.values(method=CLEAN, **where).tolist() == [8, 9]


def test_the_chosen_setting_stands_over_the_default():
    race = record({AMBIENT: "lr 2.0"}, **{CLEAN: 8.0, NAIVE: 30.0})
    plain = record({CLEAN: "lr 2.0", NAIVE: "as it is"}, clean=4.0)
    table = image_tables.searched_plain(race, plain).data
    ratio = math.sqrt(4 / 8 * 5 / 9)
    assert table["Fréchet, over default"].iloc[0].startswith(f"{ratio:.2f} [")
    assert table["Fréchet, over default"].iloc[1] == ""  # kept its default
    assert (table["error at σₙ/2, over default"] == "").all()  # not measured


def test_networks_of_another_recipe_do_not():
    race = record({AMBIENT: "lr 2.0"}, clean=8.0)
    longer = record({CLEAN: "lr 2.0"}, {**SETTINGS, "steps": 6}, clean=6.0)
    old = Results(race.table, facts={}, settings=SETTINGS)
    assert tw.with_searched(race, longer) is race and tw.with_searched(race, None) is race
    assert tw.with_searched(old, record({CLEAN: "lr 2.0"}, clean=6.0)) is old


def test_what_is_said_of_settings_follows_the_record():
    one = record({AMBIENT: "lr 2.0"}, clean=8.0, ambient=10.0)
    kept = Results(pd.DataFrame({"method": [], "value": []}), facts={"chosen": {CLEAN: "as it is",
                   NAIVE: "as it is"}}, settings=SETTINGS)  # fmt: skip
    all_searched = tw.with_searched(one, kept)
    assert "keep the defaults" in image_tables.about({"MNIST": one})
    assert "all methods were searched" in image_tables.about({"MNIST": all_searched})
    share = record({AMBIENT: "lr 2.0"}, {**SETTINGS, "noise": 0.5}, ambient=8.0)
    error = share.table.assign(measure="error", level=0.5)
    share = Results([share.table.assign(clean_share=0.1), error.assign(clean_share=0.1)],
                    facts=share.facts, settings=share.settings)  # fmt: skip
    told = [
        image_verdicts.few_clean({"MNIST": race}, {"MNIST": share}).evidence
        for race in (one, all_searched)
    ]
    assert "keeps its default settings" in told[0] and "both were searched alike" in told[1]
