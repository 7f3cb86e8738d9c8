"""Every bad call of the public API says which argument is wrong, and what is allowed."""

import math
from collections import Counter

import matplotlib.pyplot as plt
import pytest
import torch
from bad_calls import (
    COUNTS,
    EXCUSED,
    NEEDED,
    Call,
    Unknown,
    calls,
    excused,
    outcome,
    parameters,
    targets,
)
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.fixture(autouse=True)
def no_figures_left():
    yield
    plt.close("all")


def test_no_bad_call_is_silent_and_two_percent_at_most_are_obscure():
    counts, silent, obscure = Counter(), [], []
    for call in calls():
        assert not isinstance(call, Unknown), f"valid_calls.py cannot call {call}"
        verdict, said = outcome(call)
        counts[verdict] += 1
        if verdict != "clear":
            named = f"{call.function}({call.parameter}={call.kind}): {said}"
            (silent if verdict == "silent" else obscure).append(named)
    assert not silent, "\n".join(silent)
    assert len(obscure) <= 0.02 * counts.total(), "\n".join(obscure)
    assert counts.total() > 2000
    assert set(EXCUSED) == NEEDED  # an excuse that nothing needs hides the next mistake


# --- numbers that hypothesis chooses

NEVER_NUMBERS = st.one_of(
    st.text(),
    st.binary(),
    st.booleans(),
    st.complex_numbers(),
    st.dates(),
    st.lists(st.floats(), max_size=3),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
    st.just(torch.ones(2)),
    st.just(torch.tensor(True)),
    st.just(object()),
)
FRACTIONS = st.floats(allow_nan=False, allow_infinity=False).filter(lambda v: v != int(v))


def numeric(kind: str) -> list:
    """Functions with the names of their parameters that are one number of a kind."""
    found = []
    for target in targets():
        if isinstance(target, Unknown) or excused(f"{target[0]}("):
            continue
        name, function, arguments = target
        named = [p.name for p in parameters(function)
            if str(p.annotation) in (kind, f"{kind} | None")]  # fmt: skip
        found += [(name, function, arguments, parameter) for parameter in named]
    return found


FLOATS, WHOLE = numeric("float"), numeric("int")


def clear(target: tuple, value: object) -> None:
    name, function, arguments, parameter = target
    given = {**arguments, parameter: value}
    verdict, said = outcome(Call(name, parameter, repr(value), lambda: function(**given)))
    assert verdict == "clear", f"{name}({parameter}={value!r}): {verdict}, {said}"


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.sampled_from(FLOATS + WHOLE), NEVER_NUMBERS)
def test_what_is_no_number_is_named(target, value):
    clear(target, value)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(st.sampled_from(FLOATS), st.sampled_from([math.nan, math.inf, -math.inf]))
def test_numbers_that_are_not_finite_are_named(target, value):
    clear(target, value)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(st.sampled_from(WHOLE), FRACTIONS)
def test_fractions_of_counts_are_named(target, value):
    clear(target, value)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(
    st.sampled_from([target for target in WHOLE if target[3] in COUNTS]),
    st.integers(max_value=-1),
)
def test_negative_counts_are_named(target, value):
    clear(target, value)
