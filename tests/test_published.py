"""Verdicts on several master seeds together."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from companion.experiments import Results, tidy
from companion.experiments.claims import Claim, Claims, published
from companion.experiments.experiment import Experiment
from companion.experiments.published import PooledSession, pool, rule, write
from companion.experiments.source import rule_files


@dataclass(frozen=True)
class Draws(Experiment):
    """Random numbers, and a constant of each run."""

    seeds: int = 3

    def run(self, session):
        """Draw."""
        import torch

        values = torch.rand(2, self.seeds, generator=session.generator(1))
        return Results(
            [
                tidy(values, {"method": ["a", "b"], "seed": range(self.seeds)}, measure="error"),
                tidy([float(session.seed)], {"measure": ["master"]}),
            ],
            facts={"from": session.seed},
        )


def test_pooled_seeds_stay_apart_and_the_rest_is_averaged(tmp_path):
    session = PooledSession("cpu", (0, 1, 5), memory=tmp_path)
    pooled = session.run(Draws(seeds=3))
    alone = [one.run(Draws(seeds=3)) for one in session.sessions]
    for method in ("a", "b"):
        expected = [v for one in alone for v in one.values(measure="error", method=method)]
        assert list(pooled.values(measure="error", method=method)) == expected
    assert sorted(pooled.where(measure="error", method="a")["seed"]) == list(range(9))
    assert pooled.value(measure="master") == 2.0
    assert pooled.facts == {"from": 0}


def test_methods_stay_paired_by_seed(tmp_path):
    pooled = PooledSession("cpu", (0, 1), memory=tmp_path).run(Draws)
    wide = pooled.where(measure="error").pivot(index="seed", columns="method", values="value")
    assert len(wide) == 6 and wide.notna().all().all()


def test_one_master_seed_is_the_session_itself(tmp_path):
    session = PooledSession("cpu", (4,), memory=tmp_path)
    assert pool([session.sessions[0].run(Draws)]).table.equals(session.run(Draws).table)


def test_a_rule_is_what_stands_beside_the_experiments():
    files = {path.name for path in rule_files("companion.experiments.tweedie.verdicts")}
    assert "verdicts.py" in files and "race.py" not in files and "figures.py" not in files
    assert all(len(rule(chapter)["hash"]) == 16 for chapter in ("tweedie", "four_noises"))
    with pytest.raises(ValueError, match="chapter: got 'one_denoiser'"):
        rule("one_denoiser")


def test_bad_seeds():
    for seeds in ((), (1, 1)):
        with pytest.raises(ValueError, match="seeds: got"):
            PooledSession("cpu", seeds)
    with pytest.raises(ValueError, match=r"seeds: got 1\.5"):
        PooledSession("cpu", (0, 1.5))


def test_written_and_read_chapter_by_chapter(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPANION_RESULTS", str(tmp_path))
    claim = Claim("fast", "depends", "It was.", quote="it is fast", source="A", chapter="tweedie")
    assert published() == {}
    (path,) = write(Claims([claim]), "cpu", (3, 4, 5))
    entry = published()["tweedie"]
    assert path == tmp_path / "published" / "tweedie.json"
    assert entry["seeds"] == [3, 4, 5] and Claim(**entry["claims"][0]) == claim
    assert len(entry["rule"]["hash"]) == 16
    other = Claims([Claim("fast", "supported", "It is.", quote="it is fast", source="A")])
    assert "published verdict: depends (master seeds 3, 4, 5)" in other._repr_html_()
    assert "published" not in Claims([claim])._repr_html_()
    path.write_text("{")
    with pytest.raises(ValueError, match=r"tweedie.json is damaged"):
        published()
