"""The rules of chapter 1 on the chat-bot's five reasons, on made-up results."""

import importlib
import re

import pytest
from extra_noise_made_up import (
    DEPENDS,
    LOSS,
    NOISY,
    NOT,
    OPEN,
    SEEDS,
    SUPPORTED,
    SURELY,
    TIE,
    WIN,
    errors,
    failures,
    far,
    gradients,
    outliers,
    pushes,
    rivals,
    samples,
    scales,
    walk,
)

from companion.experiments.extra_noise.arms import NONE, Arm
from companion.experiments.extra_noise.digits import BIG_ARMS
from companion.experiments.extra_noise.reasons import (
    FEW,
    NOT_APPLICABLE,
    augmentation,
    diversity,
    regularization,
    robustness,
    stability,
)

# By its name: `verdicts` of the package is the function that applies all rules.
rules = importlib.import_module("companion.experiments.extra_noise.verdicts")


def decided(claim, reason):
    """A claim whose number is the one that decides, first in the evidence."""
    _, _, effect = reason.deciding()
    assert claim.verdict == reason.of_training()
    assert effect.verdict == {DEPENDS: SUPPORTED}.get(claim.verdict, claim.verdict)
    assert claim.effect == effect.claimed["effect"] and str(effect) in claim.evidence[:90]
    assert claim.seeds == SEEDS and claim.answer
    assert ("power of 80 %" in claim.evidence) == (claim.verdict == OPEN)
    return claim.verdict


@pytest.mark.parametrize(
    "factor, free, a, scatter, verdict",
    [
        (WIN, TIE, WIN, SURELY, SUPPORTED),
        (WIN, TIE, LOSS, SURELY, DEPENDS),
        (WIN, WIN / 2, WIN, SURELY, DEPENDS),  # what B does is free
        (TIE, TIE, TIE, SURELY, NOT),
        (LOSS, TIE, LOSS, SURELY, NOT),
        (0.98, TIE, 0.98, SURELY, NOT),  # too small to matter
        (0.9, TIE, 0.9, NOISY, OPEN),
    ],
)
def test_regularization(factor, free, a, scatter, verdict):
    reason = regularization(errors(factor, free, a, scatter=scatter), rivals(0.9))
    claim = rules.regularizes(reason)
    assert decided(claim, reason) == verdict
    assert rules.best_rival(reason) == "dropout 0.3" and "dropout 0.3" in claim.evidence
    assert reason.verdict("D") == NOT_APPLICABLE


def test_regularization_on_one_size_only_depends_on_it():
    reason = regularization(errors(WIN, a=TIE, sizes=(FEW,)), rivals())
    assert reason.verdict("A") == NOT
    assert reason.kinds(DEPENDS) == ["B (x₀)", "B (ε)", "C"]
    claim = rules.regularizes(reason)
    assert decided(claim, reason) == DEPENDS
    assert claim.answer == f"Only noisy inputs and noisy data lower held-out errors ({FEW} digits)."
    assert f"C ({FEW} digits)" in claim.evidence


def test_an_answer_that_depends_names_the_noise_and_the_condition():
    reason = regularization(errors(WIN, free=WIN / 2, a=TIE, sizes=(FEW,)), rivals())
    answer = rules.regularizes(reason).answer
    assert answer == f"Only noisy training data lower held-out errors ({FEW} digits)."


def test_an_answer_that_is_undecided_names_what_is_certain():
    # A and C win on both sizes; whether B beats its free rival is undecided.
    known = errors(0.9, free=0.92, a=WIN, scatter=0.05)
    claim = rules.regularizes(regularization(known, rivals()))
    assert claim.verdict == OPEN and claim.answer.startswith("For certain, only many noise levels")


@pytest.mark.parametrize("failed", [Arm("C", 0.1), Arm("C", 0.3), NONE])
def test_regularization_with_a_failed_seed(failed):
    reason = regularization(errors(WIN, failed=failed), rivals())
    # The other strength of C still wins; without the plain network nothing can be compared.
    assert reason.verdict("C") == (OPEN if failed == NONE else SUPPORTED)
    assert rules.regularizes(reason).verdict == (OPEN if failed == NONE else SUPPORTED)


@pytest.mark.parametrize(
    "recall, balance, scatter, verdict",
    [
        (0.9, 0.2, SURELY, SUPPORTED),
        (0.9, 0.9, SURELY, DEPENDS),
        (0.8, 0.9, SURELY, NOT),
        (0.5, 0.9, SURELY, NOT),
        (0.84, 0.76, NOISY, OPEN),
    ],
)
def test_exploration(recall, balance, scatter, verdict):
    ring = samples(recall=recall, scatter=scatter)
    digits = samples(BIG_ARMS, recall=recall, scatter=scatter)
    reason = diversity(ring, digits, scales(), walk(balance))
    claim = rules.explores(reason)
    assert decided(claim, reason) == verdict
    assert "D" not in claim.data  # it is not about training
    assert reason.verdict("D") == SUPPORTED
    behind = diversity(ring, digits, scales(ddim=0.9), walk(balance))
    assert behind.verdict("D") == NOT  # more noise, but no more than the right drift gives


@pytest.mark.parametrize(
    "astray, left, error, scatter, verdict",
    [
        (WIN, WIN, WIN, SURELY, SUPPORTED),
        (TIE, WIN, WIN, SURELY, DEPENDS),
        (TIE, TIE, WIN, SURELY, DEPENDS),
        (TIE, TIE, TIE, SURELY, NOT),
        (LOSS, LOSS, LOSS, SURELY, NOT),
        (0.9, 0.9, 0.9, NOISY, OPEN),
    ],
)
def test_robustness(astray, left, error, scatter, verdict):
    reason = robustness(outliers(astray, scatter=scatter), pushes(left, scatter=scatter),
                        far(error, scatter=scatter))  # fmt: skip
    claim = rules.makes_robust(reason)
    assert decided(claim, reason) == verdict
    assert claim.effect != pytest.approx(-90, abs=1)  # that of the rival
    assert re.search("filtered out before training: −[89]", claim.evidence)
    if scatter == SURELY:
        assert reason.verdict("D") == SUPPORTED
    assert robustness(outliers(1), pushes(1, LOSS), far(1)).verdict("D") == NOT


@pytest.mark.parametrize(
    "factor, free, a, scatter, verdict",
    [
        (0.8, TIE, 0.8, SURELY, DEPENDS),  # A cannot be worth more than the largest set
        (0.8, 0.6, 0.8, SURELY, DEPENDS),  # what B does is free
        (TIE, TIE, TIE, SURELY, NOT),
        (1.2, TIE, 1.2, SURELY, NOT),
        (0.9, TIE, 0.9, NOISY, OPEN),
    ],
)
def test_augmentation(factor, free, a, scatter, verdict):
    known = errors(factor, free, a, scatter=scatter)
    reason = augmentation(known)
    assert decided(rules.augments(reason, known), reason) == verdict


def test_augmentation_counts_clean_digits():
    known = errors(0.8, a=TIE)  # an error of n^-1/2 times 0.8 is that of n / 0.64
    reason = augmentation(known)
    claim = rules.augments(reason, known)
    assert reason.verdict("C") == reason.verdict("B x_0") == SUPPORTED
    assert 2**claim.effect == pytest.approx(1 / 0.64, rel=0.02)
    assert f"are worth {FEW / 0.64:.0f} clean ones" in claim.evidence
    against_free = augmentation(errors(0.8, free=0.6))
    assert against_free.verdict("C") == SUPPORTED
    assert against_free.verdict("B eps") == NOT


def test_augmentation_with_a_failed_seed():
    known = errors(0.8, failed=Arm("C", 0.3))
    assert augmentation(known).verdict("C") == SUPPORTED  # by the other strength
    broken = errors(0.8, a=TIE, failed=NONE)
    claim = rules.augments(augmentation(broken), broken)
    assert augmentation(broken).verdict("C") == OPEN and claim.verdict == OPEN


@pytest.mark.parametrize(
    "factor, failed, scatter, verdict",
    [
        (WIN, (0.8, 0.4, 0.95), SURELY, SUPPORTED),
        (WIN, (0.8, 0.8, 0.8), SURELY, DEPENDS),
        (TIE, (0.8, 0.8, 0.8), SURELY, NOT),
        (LOSS, (0.4, 0.8, 0.4), SURELY, NOT),
        (0.9, (0.8, 0.75, 0.85), NOISY, OPEN),
    ],
)
def test_stability(factor, failed, scatter, verdict):
    a = WIN if factor == WIN else TIE
    reason = stability(gradients(factor, a, scatter), failures(*failed, scatter=scatter))
    assert decided(rules.stabilizes(reason), reason) == verdict
    assert reason.rivals["gradient clipping"][0].verdict in (NOT, OPEN)
