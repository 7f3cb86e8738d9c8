"""Seeds that are added to a record: what is joined, and what is refused."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import pytest

from book import seeds
from companion.experiments import Experiment, Results, Session, records, tidy
from companion.experiments.shown import record_name

RAN: list[int] = []
"""Seeds that were run, in their order."""


@dataclass(frozen=True)
class Apart(Experiment):
    """Values of a seed that depend on it alone."""

    factor: float = 2.0
    seeds: int = 3
    recorded = True
    sizes = {"smoke": {"seeds": 2}, "long": {"seeds": 5}}

    def run(self, session):
        own = range(session.seed, session.seed + self.seeds)
        RAN.extend(own)
        values = [[self.factor * seed, -1.0] for seed in own]
        table = tidy(values, {"seed": own, "measure": ["error", "seconds of it"]})
        return Results(table, {"of the first": [session.seed]}, {"first": session.seed})


@dataclass(frozen=True)
class Together(Apart):
    """Values that depend on how many seeds there are."""

    def run(self, session):
        return Results(super().run(session).table.assign(value=1 / self.seeds))


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder of records, empty; the two experiments above are known."""
    monkeypatch.setenv("COMPANION_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("COMPANION_MEMORY", str(tmp_path / "memory"))
    known = {cls.name(): cls for cls in (Apart, Together)}
    monkeypatch.setattr(seeds, "registry", lambda: known)
    RAN.clear()
    return tmp_path / "results"


def recorded(cls, place, **differ):
    """Write a record of three seeds."""
    one = cls(**{"seeds": 3, **differ})
    results = Session("long", 0).run(one)
    records.save(results, record_name(one, "-long"), place)
    RAN.clear()
    return results


def loaded(cls, place):
    return records.load(record_name(cls(), "-long"), place)


def test_only_the_missing_seeds_run_and_the_record_is_that_of_one_run(place, capsys):
    first = recorded(Apart, place)
    assert seeds.add_seeds(Apart.name()) == 0
    assert RAN[-2:] == [3, 4]  # those before are of the trial at the smallest size
    grown, whole = loaded(Apart, place), Session("long", 0).run(Apart(seeds=5))
    assert grown.table.equals(whole.table) and grown.settings == whole.settings
    assert grown.facts == {"first": 0} and grown.arrays["of the first"].tolist() == [0]
    assert grown.provenance["earlier"]["seeds"] == 3
    assert grown.provenance["earlier"]["date"] == first.provenance["date"]
    assert "Its first 3 seeds are of" in grown.line
    assert not Session("cpu").records(Apart).there()[Apart.name()].stale
    assert seeds.add_seeds(Apart.name()) == 2 and "differs in nothing" in capsys.readouterr().out


def test_seeds_that_depend_on_their_number_are_refused(place, capsys):
    recorded(Together, place)
    assert not seeds.apart(Together) and seeds.apart(Apart)
    assert seeds.add_seeds(Together.name()) == 1
    assert "run it whole" in capsys.readouterr().out
    assert set(loaded(Together, place).table["seed"]) == {0, 1, 2} and 4 not in RAN


@pytest.mark.parametrize(
    "differ, says",
    [
        ({"factor": 3.0}, "differs in factor, seeds"),
        ({"seeds": 6}, "has 6 seeds; asked are 5"),
    ],
)
def test_a_record_of_another_run_is_left_alone(place, capsys, differ, says):
    recorded(Apart, place, **differ)
    before = loaded(Apart, place).table
    assert seeds.add_seeds(Apart.name()) == 2
    assert says in capsys.readouterr().out and RAN == []
    assert loaded(Apart, place).table.equals(before)


def test_a_record_of_other_code_or_none_is_told(place, capsys):
    assert seeds.add_seeds(Apart.name()) == 2 and "it has no record" in capsys.readouterr().out
    results = recorded(Apart, place)
    other = dataclasses.replace(results, provenance={**results.provenance, "code": "0" * 16})
    records.save(other, record_name(Apart(), "-long"), place)
    assert seeds.add_seeds(Apart.name()) == 2 and "of other code" in capsys.readouterr().out
    assert seeds.add_seeds("tweedie.nothing") == 2


def test_a_seed_is_never_counted_twice(place):
    results = recorded(Apart, place)
    with pytest.raises(ValueError, match=r"seeds: \[0, 1, 2\] are in both"):
        seeds.join(results, results)
