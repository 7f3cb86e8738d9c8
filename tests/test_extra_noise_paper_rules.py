"""The rules of chapter 1 on the paper's sentences, on made-up results; records in words."""

import pytest
from extra_noise_made_up import (
    DEPENDS,
    LEVELS,
    LOSS,
    NOISY,
    NOT,
    OPEN,
    SEEDS,
    SUPPORTED,
    SURELY,
    TIE,
    WIN,
    Table,
    exact,
    samples,
)

from companion.experiments import Results
from companion.experiments.extra_noise import chains, tables
from companion.experiments.extra_noise import paper_verdicts as rules
from companion.experiments.extra_noise.arms import FREE, NONE, TRAINED, Arm


def first(claim):
    """A claim whose number stands first in its evidence."""
    assert claim.seeds == SEEDS and claim.answer
    digits = 0 if max(map(abs, claim.interval)) >= 100 else 1
    assert f"{abs(claim.effect):.{digits}f}" in claim.evidence[:260]
    assert ("power of 80 %" in claim.evidence) == (claim.verdict == OPEN)
    return claim.verdict


def growth_of(ring, digits, of_exact=1.0, scatter=SURELY):
    known = {"the ring": ring, "digits": digits}
    problems = {n: (samples(growth=g, scatter=scatter), exact(of_exact)) for n, g in known.items()}
    return rules.accumulation(problems, {})


@pytest.mark.parametrize(
    "ring, digits, verdict",
    [(2.0, 2.0, SUPPORTED), (1.0, 2.0, DEPENDS), (1.0, 1.0, NOT), (0.5, 0.5, NOT)],
)
def test_accumulation(ring, digits, verdict):
    claim = growth_of(ring, digits)
    assert first(claim) == verdict and "not yet recorded" in claim.evidence
    if verdict == SUPPORTED:
        assert claim.effect == pytest.approx(100 * 0.1 * (2**2 - 1), abs=0.5)
    if verdict == DEPENDS:
        assert "grows on digits only" in claim.answer and "digits" in claim.data


def test_accumulation_is_not_what_an_exact_denoiser_shows_as_well():
    # The networks' bias grows to four times its size; so does the exact denoiser's, by as much.
    table = Table()
    for i, n in enumerate((20, 100, 1000)):
        where = {"measure": "exposure bias", "steps": n, **NONE.where}
        for level in LEVELS:
            table.add(0.1 * 2**i, denoiser="exact", level=level, **where)
            table.add(0.1 * 2**i + 0.05, denoiser=TRAINED, level=level, **where)
    made = table.results()
    claim = rules.accumulation({"the ring": (made, made), "digits": (made, made)}, {})
    assert claim.verdict == NOT and "the ring +30" in claim.evidence


def test_accumulation_is_undecided_by_noise():
    assert first(growth_of(1.05, 1.05, scatter=NOISY)) == OPEN


CASES = [
    (WIN, SURELY, SUPPORTED),
    (TIE, SURELY, NOT),
    (LOSS, SURELY, NOT),
    (0.98, SURELY, NOT),
    (0.9, NOISY, OPEN),
]


@pytest.mark.parametrize("distance, scatter, verdict", CASES)
def test_perturbation(distance, scatter, verdict):
    claim = rules.perturbation({"digits": samples(distance=distance, scatter=scatter)}, {})
    assert first(claim) == verdict
    if scatter == SURELY:
        assert claim.effect == pytest.approx(100 * (distance - 1), abs=2)


def test_perturbation_that_helps_after_a_longer_training_only():
    problems = {"digits": samples(), "digits, longer": samples(distance=WIN)}
    claim = rules.perturbation(problems, {})
    assert first(claim) == DEPENDS and "digits, longer" in claim.data
    assert (
        claim.answer == "Samples improve only on digits, longer, 20, 100 and 1000 sampling steps."
    )


def test_perturbation_that_is_certain_on_one_problem_only_says_where():
    problems = {"digits": samples(distance=0.9, scatter=NOISY), "ring": samples(distance=WIN)}
    claim = rules.perturbation(problems, {})
    assert claim.verdict == OPEN
    assert claim.answer == "Samples surely improve only on ring, 20, 100 and 1000 sampling steps."


@pytest.mark.parametrize("distance, scatter, verdict", CASES)
def test_beyond_relabelling(distance, scatter, verdict):
    known = {"digits": samples(distance=distance, free=TIE, scatter=scatter)}
    assert first(rules.beyond_relabelling(known, {})) == verdict


def test_what_relabelling_does_for_free_is_no_gain_of_training():
    known = {"digits": samples(distance=WIN, free=WIN)}
    assert rules.perturbation(known, {}).verdict == SUPPORTED
    assert rules.beyond_relabelling(known, {}).verdict == NOT
    both = {**known, "the ring": samples(distance=WIN)}
    assert first(rules.beyond_relabelling(both, {})) == DEPENDS


def test_evidence_says_where_it_helps_and_where_not_without_double_negation():
    told = {"ring": samples(), "digits": samples(distance=WIN)}
    evidence = rules.perturbation(told, {}).evidence
    assert (
        "Better on digits, 20, 100 and 1000 sampling steps; surely not on ring, 20, 100" in evidence
    )
    nothing = rules.perturbation({"digits": samples(distance=0.9, scatter=NOISY)}, {}).evidence
    assert "Better on no chain. Target" in nothing


def test_perturbation_with_a_failed_seed():
    other = {"digits": samples(distance=WIN, failed=Arm("B eps", 0.1))}
    assert rules.perturbation(other, {}).verdict == SUPPORTED  # by the other strength
    claim = rules.perturbation({"digits": samples(distance=WIN, failed=NONE)}, {})
    assert claim.verdict == OPEN and claim.interval is None


@pytest.mark.parametrize(
    "recall, scatter, verdict",
    [
        (0.8, SURELY, SUPPORTED),
        (0.9, SURELY, SUPPORTED),
        (0.6, SURELY, NOT),
        (0.78, NOISY, OPEN),
    ],
)
def test_recall(recall, scatter, verdict):
    claim = rules.recall({"digits": samples(recall=recall, scatter=scatter)}, {})
    assert first(claim) == verdict


def test_recall_that_falls_after_a_longer_training_only():
    problems = {"digits": samples(), "digits, longer": samples(recall=0.6)}
    claim = rules.recall(problems, {})
    assert first(claim) == DEPENDS and claim.effect == pytest.approx(-20, abs=1)
    assert "recall, digits, longer" in claim.answer


def test_what_was_not_tested_says_so():
    assert {rules.times().verdict, rules.celeba().verdict} == {"not tested"}


# --- records of images ----------------------------------------------------------------------------


def record(failed=None, free=True):
    """An image record of three seeds: B with target eps is worse, its free rival as the plain."""
    table, paper = Table(), chains.PAPER
    means = {(TRAINED, NONE): 1.0, (TRAINED, paper): LOSS, (TRAINED, Arm("C", 0.05)): TIE}
    means |= {(FREE, paper): TIE} if free else {}
    for (way, arm), mean in means.items():
        where = {"denoiser": way, **arm.where}
        broken = failed == (way, arm)
        for n in (20, 100):
            table.add(mean, broken, measure="Frechet distance", **where, steps=n)
            for measure in ("recall", "precision"):
                table.add(0.8, broken, measure=measure, **where, steps=n)
            for level in LEVELS:
                bias = 0.1 * n / 20
                table.add(bias, measure="exposure bias", **where, steps=n, level=level)
        for level in LEVELS:
            table.add(mean, measure="test error", **where, level=level)
            table.add(mean / 2, measure="training error", **where, level=level)
    return Results(table.parts, settings={"seeds": SEEDS})


def test_records_are_told_in_words():
    told = {"made up": record(), "missing": None}
    problems = {"digits": samples()}
    evidence = rules.perturbation(problems, told).evidence
    assert "made up, 8 seeds: trained against plain, +100" in evidence
    assert "missing" not in evidence and "free against plain" in evidence
    growth = rules.accumulation({"digits": (samples(), exact())}, told).evidence
    assert "100 steps minus 20, without the comparison with an exact denoiser" in growth
    assert "trained against free, +100" in rules.beyond_relabelling(problems, told).evidence
    without = rules.beyond_relabelling(problems, {"made up": record(free=False)}).evidence
    assert "not yet recorded" in without
    kept = rules.recall(problems, told).evidence
    assert "recall" in kept and "precision" in kept


def test_tables_of_records():
    frame = tables.images({"made up": record()}, "Frechet distance").set_index("Fréchet distance")
    assert list(frame) == ["images", "20 steps", "100 steps"]
    assert frame.loc["B (ε), γ = 0.1 against plain", "20 steps"].startswith("+10")
    assert frame.loc["free B (ε), γ = 0.1 against plain", "20 steps"].startswith(("+0", "−0"))
    assert frame.loc["B (ε), γ = 0.1 against free", "20 steps"].startswith("+10")
    broken = {"made up": record(failed=(TRAINED, NONE))}
    frame = tables.images(broken, "Frechet distance")
    assert (frame["20 steps"] == "not finite").sum() == 4
    assert "σ = 0.2: +100" in tables.overfitting(record())


def test_records_of_different_chains_share_a_table():
    one, other = record(), record()
    fewer = Results(other.table[other.table["steps"] != 100], settings=other.settings)
    frame = tables.images({"one": one, "fewer": fewer}, "recall")
    assert list(frame)[2:] == ["20 steps", "100 steps"]
    assert frame.loc[frame["images"] == "fewer", "100 steps"].isna().all()
