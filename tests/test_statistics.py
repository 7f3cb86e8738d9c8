"""Intervals, comparisons over seeds and grades, against known answers."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from companion import statistics
from companion.statistics import (
    Interval,
    best_of_others,
    combine,
    decide,
    detectable,
    interaction,
    intervals_by,
    mean_interval,
    paired_difference,
    paired_ratio,
    ratio_interval,
)

# --- intervals


def test_mean_interval_is_the_t_interval():
    # n = 4, standard deviation 1.29099, t(0.975, 3) = 3.18245
    interval = mean_interval([1.0, 2.0, 3.0, 4.0])
    assert interval.mean == 2.5 and interval.n == 4
    assert interval.high - 2.5 == pytest.approx(3.182446 * 1.290994 / 2, rel=1e-5)
    assert 2.5 - interval.low == pytest.approx(interval.high - 2.5)


@pytest.mark.parametrize("confidence, comparisons", [(0.95, 1), (0.9, 1), (0.95, 10)])
def test_mean_interval_is_that_of_scipy(confidence, comparisons):
    values = np.random.default_rng(1).normal(size=7)
    level = 1 - (1 - confidence) / comparisons
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(level)
    interval = mean_interval(values, confidence=confidence, comparisons=comparisons)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))


def test_interval_covers_the_mean_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(3.0, 2.0, (4000, 5))
    missed = np.mean([mean_interval(values).excludes(3.0) for values in draws])
    assert missed == pytest.approx(0.05, abs=0.012)
    missed = np.mean([mean_interval(values, comparisons=5).excludes(3.0) for values in draws])
    assert missed == pytest.approx(0.01, abs=0.006)


def test_equal_values_give_a_point():
    assert mean_interval([2.0, 2.0]) == Interval(2.0, 2.0, 2.0, 2)


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20),
    st.floats(0.5, 0.99),
    st.integers(1, 50),
)
def test_more_comparisons_widen(values, confidence, comparisons):
    one = mean_interval(values, confidence=confidence)
    many = mean_interval(values, confidence=confidence, comparisons=comparisons)
    assert many.low <= one.low <= one.mean <= one.high <= many.high


def test_tensors_lists_and_arrays_are_the_same():
    values = [1.0, 2.5, 4.0]
    expected = mean_interval(values)
    for same in (np.array(values), torch.tensor(values), [torch.tensor(v) for v in values]):
        assert mean_interval(same) == expected


def test_where_an_interval_lies():
    interval = Interval(1.0, 0.5, 1.5, 3)
    assert interval.above(0.4) and interval.below(1.6) and interval.excludes(2)
    # An interval that ends at a value, or holds it, is not beyond it.
    assert not interval.above(0.5) and not interval.below(1.5) and not interval.excludes(0.5)
    assert not interval.above(1.0) and not interval.below(1.0)


@pytest.mark.parametrize(
    "interval, text",
    [
        (Interval(0.12345, 0.10123, 0.14567, 8), "0.123 [0.101, 0.146]"),
        (Interval(123.456, 100.0, 146.9, 8), "123 [100, 147]"),
        (Interval(-0.0000123, -0.0000223, -0.0000023, 8), "-0.000012 [-0.000022, -0.000002]"),
        (Interval(1.0, 1.0, 1.0, 2), "1.0 [1.0, 1.0]"),
        (Interval(0.0, 0.0, 0.0, 2), "0 [0, 0]"),
        (Interval(math.inf, 1.0, math.inf, 2), "inf [1, inf]"),
    ],
)
def test_interval_as_text(interval, text):
    assert str(interval) == f"{interval}" == text


def test_interval_with_a_format():
    assert f"{Interval(0.5, 0.25, 0.75, 3):.1%}" == "50.0% [25.0%, 75.0%]"


# --- differences and ratios


def test_paired_difference_removes_what_the_pairs_share():
    shared = torch.tensor([0.0, 100.0, -50.0, 7.0])
    interval = paired_difference(shared + torch.tensor([1.0, 1.1, 0.9, 1.0]), shared)
    assert interval.mean == pytest.approx(1.0, abs=1e-4)
    assert interval.high - interval.low < 0.5 and interval.excludes(0)


def test_ratio_interval_is_made_of_logarithms():
    ratios = [0.5, 1.0, 2.0]
    interval = ratio_interval(ratios)
    half = stats.t.ppf(0.975, 2) * math.log(2) / math.sqrt(3)  # the logarithms deviate by log 2
    assert interval.mean == pytest.approx(1.0) and interval.n == 3
    assert interval.high == pytest.approx(math.exp(half))
    assert interval.low * interval.high == pytest.approx(1.0)


def test_paired_ratio_turned_round_is_its_inverse():
    a, b = np.array([1.0, 2.0, 9.0]), np.array([2.0, 5.0, 11.0])
    one, other = paired_ratio(a, b, comparisons=3), paired_ratio(b, a, comparisons=3)
    assert one.mean == pytest.approx((a / b).prod() ** (1 / 3))
    assert one.low * other.high == pytest.approx(1) and one.high * other.low == pytest.approx(1)
    # What multiplies a pair drops out.
    assert paired_ratio(a * 7, b * 7, comparisons=3) == pytest.approx(one)


def test_factors_that_would_overflow_are_cut():
    interval = ratio_interval([1e-300, 1e300])
    assert interval.mean == pytest.approx(1.0)
    assert interval.high == math.exp(statistics.LARGEST_LOG) and 0 < interval.low < 1e-20
    assert Interval(1000.0, -1000.0, 2000.0, 2).exp().mean == math.exp(statistics.LARGEST_LOG)


def test_interaction_is_a_difference_in_differences():
    run = np.array([0.0, 10.0, -3.0])  # what the runs share
    neither, first, second = run, run - 1, run - 2
    wobble = np.array([0.01, -0.01, 0.0])
    added = interaction(run - 3 + wobble, first, second, neither)
    assert added.mean == pytest.approx(0, abs=1e-9) and not added.excludes(0)
    helped = interaction(run - 4 + wobble, first, second, neither)
    assert helped.mean == pytest.approx(-1) and helped.below(0)
    cancelled = interaction(run - 1 + wobble, first, second, neither, comparisons=2)
    assert cancelled.mean == pytest.approx(2) and cancelled.above(0)


# --- choosing and grading


def test_a_setting_is_chosen_by_the_other_seeds():
    scores = np.array([[0.0, 5.0, 5.0], [4.0, 4.0, 4.0]])
    # Without the first seed the second setting is better: its own luck does not choose for it.
    assert best_of_others(scores).tolist() == [1, 0, 0]
    assert best_of_others(np.array([[1.0, 1.0], [2.0, 0.5]])).tolist() == [1, 0]


def test_noise_alone_does_not_reward_choosing():
    """The best of many settings without a difference looks better than it is; this one does not."""
    scores = np.random.default_rng(0).normal(size=(400, 20, 6))
    seeds = np.arange(6)
    by_others = [s[best_of_others(s), seeds].mean() for s in scores]
    in_sample = [s[s.mean(1).argmin()].mean() for s in scores]
    assert np.mean(by_others) == pytest.approx(0, abs=0.07)
    assert np.mean(in_sample) < -0.5


@pytest.mark.parametrize(
    "mean, low, high, verdict",
    [
        (0.80, 0.70, 0.88, "supported"),  # a win
        (0.99, 0.97, 1.01, "not supported"),  # a tie
        (0.97, 0.96, 0.98, "not supported"),  # a certain gain that is too small to matter
        (1.30, 1.20, 1.40, "not supported"),  # a loss
        (0.90, 0.70, 1.20, "inconclusive"),  # noise
        (0.97, 0.93, 0.99, "inconclusive"),  # a gain, perhaps too small
    ],
)
def test_a_rule_can_return_every_verdict(mean, low, high, verdict):
    ratio = Interval(mean, low, high, 8)
    assert decide(ratio, 0.95, reference=1) == verdict
    mirrored = Interval(-mean, -high, -low, 8)  # the same claim the other way round
    assert decide(mirrored, -0.95, reference=-1) == verdict


@pytest.mark.parametrize(
    "verdicts, together",
    [
        (["supported", "supported"], "supported"),
        (["not supported"], "not supported"),
        (["supported", "not supported", "inconclusive"], "depends"),
        (["supported", "inconclusive"], "inconclusive"),
        (["not supported", "inconclusive"], "inconclusive"),
        (["depends", "supported"], "depends"),
    ],
)
def test_verdicts_under_several_conditions(verdicts, together):
    assert combine(verdicts) == combine(iter(verdicts[::-1])) == together


def test_an_effect_that_is_detectable_is_detected_as_often_as_promised():
    rng = np.random.default_rng(0)
    size = np.mean([detectable(mean_interval(rng.normal(size=8))) for _ in range(500)])
    hits = [mean_interval(rng.normal(size, 1, 8)).above(0) for _ in range(1000)]
    assert np.mean(hits) == pytest.approx(0.8, abs=0.06)


# --- errors


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: mean_interval([1.0]), r"a: got shape \(1,\)"),
        (lambda: mean_interval("12"), "a: got '12'"),
        (lambda: mean_interval([[1.0, 2.0], [3.0, 4.0]]), None),
        (lambda: mean_interval(np.ones((2, 2))), r"a: got shape \(2, 2\)"),
        (lambda: mean_interval([1.0, math.nan]), "not finite"),
        (lambda: mean_interval([1.0, 2.0], confidence=95), "confidence: got 95"),
        (lambda: mean_interval([1.0, 2.0], confidence=True), "confidence: got True"),
        (lambda: mean_interval([1.0, 2.0], comparisons=0), "comparisons: got 0"),
        (lambda: paired_difference([1.0, 2.0], [1.0, 2.0, 3.0]), "b: got 3 values"),
        (lambda: ratio_interval([1.0, 0.0]), "ratios: got 0; allowed are values above 0"),
        (lambda: paired_ratio([1.0, 2.0], [1.0, -2.0]), "b: got -2; allowed are values above 0"),
        (lambda: interaction([1, 2], [1, 2], [1, 2, 3], [1, 2]), "both, first, second, neither"),
        (lambda: best_of_others([[1.0], [2.0]]), r"scores: got shape \(2, 1\)"),
        (lambda: best_of_others([1.0, 2.0]), r"scores: got shape \(2,\)"),
        (lambda: combine([]), "verdicts: got none"),
        (lambda: combine(["perhaps"]), "verdicts: got 'perhaps'"),
        (lambda: decide(Interval(1, 0, 2, 8), 1.0, reference=1), "smallest: got 1"),
    ],
)
def test_bad_statistics(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


def test_bootstrap_intervals_are_percentiles_of_resampled_means():
    values = np.array([0.0, 0.0, 0.0, 8.0])
    with intervals_by("bootstrap"):
        interval = mean_interval(values)
        ratio = paired_ratio([2.0, 8.0], [1.0, 1.0])
    # How many of four draws hit the 8: P(0) = 0.32, P(3 or 4) = 0.051, P(4) = 0.004.
    assert (interval.mean, interval.low, interval.high) == (2.0, 0.0, 6.0)
    assert ratio.low == pytest.approx(2) and ratio.high == pytest.approx(8)
    assert mean_interval(values).low < 0  # Student's again


def test_the_method_of_intervals_is_restored_after_an_error():
    with pytest.raises(RuntimeError), intervals_by("bootstrap"):
        raise RuntimeError
    assert mean_interval([1.0, 3.0]).high > 3
    with pytest.raises(ValueError, match="bayes"), intervals_by("bayes"):
        pass
