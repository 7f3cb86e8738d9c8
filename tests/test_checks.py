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
    "error, value",
    [
        *((ValueError, value) for value in (0, -1, 2.5, float("nan"))),
        *((TypeError, v) for v in ("3", True, None, torch.tensor([1, 2]), torch.tensor(True))),
    ],
)
def test_what_is_no_whole_number_is_named(error, value):
    with pytest.raises(error, match=r"n: got .*; allowed is a whole number of at least 1"):
        checks.whole("n", value)


def test_an_upper_bound_is_said():
    assert checks.whole("n", 7, 0, 7) == 7
    with pytest.raises(ValueError, match="from 0 to 7"):
        checks.whole("n", 8, 0, 7)


@pytest.mark.parametrize("value", [0.5, 1, np.float32(0.5), torch.tensor(0.5)])
def test_numbers_of_every_kind_come_back_as_float(value):
    assert type(checks.number("lr", value, above=0)) is float


@pytest.mark.parametrize(
    "error, value",
    [
        *((ValueError, value) for value in (0, -1.0, float("inf"), float("nan"))),
        *((TypeError, value) for value in ("1e-3", True, None, torch.ones(2), 1j)),
    ],
)
def test_what_is_no_number_above_zero_is_named(error, value):
    with pytest.raises(error, match=r"lr: got .*; allowed is a finite number above 0"):
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
    with pytest.raises(ValueError, match=r"x: got .*; allowed is a floating-point tensor"):
        checks.batch("x", torch.zeros(4))
    for value in (torch.zeros(4, 2).long(), [[1.0, 2.0]], "noise"):
        with pytest.raises(TypeError, match=r"x: got .*; allowed is a floating-point tensor"):
            checks.batch("x", value)
    with pytest.raises(ValueError, match=r"\(0, 2\).*B of at least 1"):
        checks.batch("x", torch.zeros(0, 2), at_least=1)


def test_values_that_are_not_finite_are_located():
    x = torch.zeros(4, 3)
    checks.finite("data", x)
    x[2, 1] = float("nan")
    with pytest.raises(ValueError, match=r"data: got nan at position \(2, 1\) \(1 such values\)"):
        checks.finite("data", x)


def test_numbers_and_shapes_come_as_tuples():
    assert checks.numbers("weights", np.array([0.5, 2.0]), above=0) == (0.5, 2.0)
    assert checks.shape("shape", torch.Size([1, 8, 8])) == (1, 8, 8)
    for values in ([], [1.0, -1.0], [float("nan")]):
        with pytest.raises(ValueError, match="weights: got"):
            checks.numbers("weights", values, above=0)
    for value in ("12", None, 3, torch.tensor(2.0)):
        with pytest.raises(TypeError, match=r"shape: got .*; allowed are whole numbers"):
            checks.shape("shape", value)


def test_a_tensor_like_another_has_its_shape():
    x = torch.zeros(4, 2)
    assert checks.like("eps", x, x) is x
    with pytest.raises(ValueError, match=r"\(4, 1\); allowed is that of z, \(4, 2\)"):
        checks.like("eps", x[:, :1], x, "z")
    with pytest.raises(TypeError, match="eps: got"):
        checks.like("eps", x.long(), x)
