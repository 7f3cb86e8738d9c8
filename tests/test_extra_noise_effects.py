"""Effects of chapter 1, their verdicts, and what data are worth."""

import math

import numpy as np
import pytest
from extra_noise_made_up import NOT, OPEN, SEEDS, SUPPORTED, made_up

from companion.experiments.extra_noise.effects import (
    SMALLEST,
    Effect,
    any_of,
    difference,
    doubt,
    every,
    flipped,
    strongest,
)
from companion.experiments.extra_noise.reasons import worth
from companion.statistics import Interval, detectable


def test_an_effect_says_in_which_direction_it_holds():
    less = difference(made_up(0.5, 0), made_up(1.0, 1), 1, -1, label="γ = 0.1")
    assert less.holds and less.high > less.low > 0
    assert str(less).startswith("−50") and str(less).endswith("(γ = 0.1)")
    assert not difference(made_up(0.5, 0), made_up(1.0, 1), 1, 1).holds
    points = difference(made_up(0.9, 0), made_up(0.8, 1), 1, 1, "points")
    assert points.holds and points.shown[0] == pytest.approx(10, abs=0.1)


def test_more_comparisons_make_wider_intervals():
    a, b = made_up(0.99, 0), made_up(1.0, 1)
    one, many = (difference(a, b, n, -1).interval for n in (1, 40))
    assert many.low < one.low and many.high > one.high and many.mean == one.mean


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.0])
def test_an_effect_of_a_failed_seed_never_holds(bad):
    values = made_up(0.5, 0)
    values[2] = bad
    broken = difference(values, made_up(1.0, 1), 1, -1)
    assert broken.verdict == OPEN and not broken.finite and str(broken) == "not finite"
    assert broken.claimed == {"seeds": SEEDS}
    fine = difference(made_up(2.0, 0), made_up(1.0, 1), 1, -1)
    assert strongest([broken, fine]) is fine and strongest([fine, broken]) is fine


def interval(mean, half, better=-1, unit="ratio"):
    return Effect(Interval(mean, mean - half, mean + half, SEEDS), better, unit)


@pytest.mark.parametrize("unit", SMALLEST)
@pytest.mark.parametrize("better", [-1, 1])
def test_a_win_a_tie_a_loss_and_noise(unit, better):
    size = SMALLEST[unit]
    cases = [(3, 1, SUPPORTED), (0, 0.5, NOT), (-3, 1, NOT), (0.4, 0.2, NOT), (1, 3, OPEN)]
    for mean, half, verdict in cases:
        effect = interval(better * mean * size, half * size, better, unit)
        assert effect.verdict == verdict and effect.holds == (verdict == SUPPORTED)


@pytest.mark.parametrize("unit", SMALLEST)
def test_no_effect_that_may_be_twice_the_smallest_both_ways_is_decided(unit):
    size = SMALLEST[unit]
    for mean in (-0.9, 0.0, 0.9):
        effect = interval(mean * size, 3 * size, 1, unit)
        assert effect.verdict == OPEN
        assert "Smallest effect of interest" in doubt(effect, OPEN)
        assert doubt(effect, NOT) == ""


def test_power_is_said_in_the_unit_of_the_effect():
    effect = interval(0.0, 0.1, 1, "points")
    assert effect.power == f"{100 * detectable(effect.interval):.2g} points"
    assert interval(0.0, 0.1).power.endswith(" %") and interval(0.0, 0.2).power > "1"
    assert "failed" in difference([1, math.nan], [1, 1], 1, -1).power


def test_one_strength_is_enough_and_every_rival_is_needed():
    good, bad, wide = interval(-1, 0.5), interval(0, 0.01), interval(0, 1)
    assert any_of([bad, good]) == SUPPORTED
    assert any_of([bad, bad]) == NOT and any_of([bad, wide]) == OPEN
    assert every([SUPPORTED, SUPPORTED]) == SUPPORTED
    assert every([SUPPORTED, OPEN]) == OPEN and every([OPEN, NOT]) == NOT
    assert [flipped(v) for v in (SUPPORTED, NOT, OPEN)] == [NOT, SUPPORTED, OPEN]


def test_worth_is_read_off_the_learning_curve():
    sizes = (100, 200, 400)
    curve = np.array([[0.4, 0.2, 0.1]] * 5)
    error = np.array([0.4, 0.2, math.sqrt(0.2 * 0.1), 0.05, 0.9])
    assert worth(error, curve, sizes) == pytest.approx([100, 200, 200 * 2**0.5, 400, 100])
    # A curve that rises again is worth what it was worth before.
    bent = np.array([[0.4, 0.2, 0.3]])
    assert worth(np.array([0.2]), bent, sizes) == pytest.approx([400])
    assert np.isnan(worth(np.array([math.nan]), curve[:1], sizes)).all()
