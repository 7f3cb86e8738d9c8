"""The checks of arguments: what passes, what does not, and what the error says."""

import numpy as np
import pytest
import torch

from companion import checks


@pytest.mark.parametrize("value", [3, np.int64(3), torch.tensor(3), 3.0])
def test_whole_numbers_of_every_kind_come_back_as_int(value):
    assert checks.whole("n", value) == 3
    assert type(checks.whole("n", value)) is int


@pytest.mark.parametrize(
    "value", [0, -1, 2.5, "3", True, None, torch.tensor([1, 2]), float("nan"), torch.tensor(True)]
)
def test_what_is_no_whole_number_is_named(value):
    with pytest.raises(ValueError, match=r"n: got .*; allowed is a whole number of at least 1"):
        checks.whole("n", value)


def test_an_upper_bound_is_said():
    assert checks.whole("n", 7, 0, 7) == 7
    with pytest.raises(ValueError, match="from 0 to 7"):
        checks.whole("n", 8, 0, 7)


@pytest.mark.parametrize("value", [0.5, 1, np.float32(0.5), torch.tensor(0.5)])
def test_numbers_of_every_kind_come_back_as_float(value):
    assert type(checks.number("lr", value, above=0)) is float


@pytest.mark.parametrize(
    "value", [0, -1.0, "1e-3", float("inf"), float("nan"), True, None, torch.ones(2), 1j]
)
def test_what_is_no_number_above_zero_is_named(value):
    with pytest.raises(ValueError, match=r"lr: got .*; allowed is a finite number above 0"):
        checks.number("lr", value, above=0)


def test_bounds_are_part_of_the_error():
    with pytest.raises(ValueError, match="at least 0 and below 1"):
        checks.number("ema", 1.0, at_least=0, below=1)


def test_a_choice_lists_what_is_allowed():
    assert checks.choice("kind", "a", ("a", "b")) == "a"
    with pytest.raises(ValueError, match="kind: got 'c'; allowed are 'a', 'b'"):
        checks.choice("kind", "c", ("a", "b"))
    with pytest.raises(ValueError, match="allowed are"):
        checks.choice("steps", True, (1, 2))


def test_a_batch_is_a_floating_point_tensor_of_samples():
    checks.batch("x", torch.zeros(0, 2))
    for value in (torch.zeros(4), torch.zeros(4, 2).long(), [[1.0, 2.0]], "noise"):
        with pytest.raises(ValueError, match=r"x: got .*; allowed is a floating-point tensor"):
            checks.batch("x", value)
    with pytest.raises(ValueError, match=r"\(0, 2\).*B of at least 1"):
        checks.batch("x", torch.zeros(0, 2), at_least=1)


def test_values_that_are_not_finite_are_located():
    x = torch.zeros(4, 3)
    checks.finite("data", x)
    x[2, 1] = float("nan")
    with pytest.raises(ValueError, match=r"data: got nan at position \(2, 1\) \(1 such values\)"):
        checks.finite("data", x)
