"""Checks of arguments: one place for the errors that every public function shares.

Each returns the value in its plain type, or raises an error that names the argument, says what was
given and what is allowed: a ``TypeError`` for a wrong type, a ``ValueError`` for a wrong value.
Numbers of NumPy count as numbers; texts, truth values and fractions do not count as whole numbers.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from numbers import Real
from typing import Any, TypeVar

import torch
from torch import Tensor

__all__ = [
    "batch",
    "choice",
    "finite",
    "function",
    "generator",
    "instance",
    "labels",
    "level",
    "like",
    "listed",
    "number",
    "numbers",
    "seed",
    "shape",
    "tensor",
    "whole",
]

T = TypeVar("T")


def shown(value: Any) -> str:
    """Return a value as errors show it: tensors and arrays by type, shape and dtype."""
    shape = getattr(value, "shape", None)
    if shape is not None and getattr(value, "dtype", None) is not None and len(shape):
        return f"{type(value).__name__} of shape {tuple(shape)} and {value.dtype}"
    if isinstance(value, (tuple, list)) and any(hasattr(v, "shape") for v in value):
        return f"a {type(value).__name__} of {len(value)}"
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def whole(name: str, value: Any, at_least: int = 1, at_most: int | None = None) -> int:
    """Return a whole number, or say that it is none.

    Parameters
    ----------
    name : str
        Of the argument.
    value : int, or what behaves as one (``numpy.int64``, a 0-d integer tensor)
    at_least, at_most : int
        Bounds, both allowed.

    Raises
    ------
    TypeError
        If it is of another type.
    ValueError
        If it is a fraction, or out of bounds.
    """
    bounds = f"of at least {at_least}" if at_most is None else f"from {at_least} to {at_most}"
    message = f"{name}: got {shown(value)}; allowed is a whole number {bounds}"
    if isinstance(value, (bool, str)) or "bool" in str(getattr(value, "dtype", "")):
        raise TypeError(message)
    try:
        plain = operator.index(value)
    except TypeError:
        if not isinstance(value, Real):
            raise TypeError(message) from None
        if not float(value).is_integer():
            raise ValueError(message) from None
        plain = int(float(value))
    if plain < at_least or (at_most is not None and plain > at_most):
        raise ValueError(message)
    return plain


def number(
    name: str,
    value: Any,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
) -> float:
    """Return a finite number within bounds, or say that it is none.

    Parameters
    ----------
    name : str
        Of the argument.
    value : float, or what behaves as one (an int, a NumPy number, a 0-d tensor)
    above, below : float, optional
        Bounds that are not allowed themselves.
    at_least, at_most : float, optional
        Bounds that are.

    Raises
    ------
    TypeError
        If it is of another type.
    ValueError
        If it is not finite, or out of bounds.
    """
    bounds = [
        f"{word} {bound:g}"
        for word, bound in (
            ("above", above), ("at least", at_least), ("below", below), ("at most", at_most)
        )
        if bound is not None
    ]  # fmt: skip
    allowed = " ".join(["a finite number", " and ".join(bounds)]).strip()
    message = f"{name}: got {shown(value)}; allowed is {allowed}"
    scalar = isinstance(value, Real) or getattr(value, "ndim", None) == 0
    if isinstance(value, bool) or "bool" in str(getattr(value, "dtype", "")) or not scalar:
        raise TypeError(message)
    try:
        plain = float(value)
    except (TypeError, ValueError):
        raise TypeError(message) from None
    inside = (
        (above is None or plain > above)
        and (at_least is None or plain >= at_least)
        and (below is None or plain < below)
        and (at_most is None or plain <= at_most)
    )
    if not math.isfinite(plain) or not inside:
        raise ValueError(message)
    return plain


def listed(name: str, values: Any, allowed: str) -> list:
    """Return what a sequence holds, or raise a ``TypeError``: a text is none."""
    if not isinstance(values, (str, bytes)):
        try:
            return list(values)
        except TypeError:
            pass
    raise TypeError(f"{name}: got {shown(values)}; allowed are {allowed}")


def numbers(name: str, values: Any, **bounds: float) -> tuple[float, ...]:
    """Return one or more finite numbers, with the bounds that ``number`` takes.

    Raises
    ------
    TypeError, ValueError
        If it is no sequence, has none, or one of them is not as ``number`` allows.
    """
    plain = tuple(number(name, value, **bounds) for value in listed(name, values, "numbers"))
    if not plain:
        raise ValueError(f"{name}: got none; allowed are one or more numbers")
    return plain


def shape(name: str, value: Any) -> tuple[int, ...]:
    """Return the shape of a sample: a sequence of whole numbers, each 1 or more.

    Raises
    ------
    TypeError, ValueError
        If it is no sequence, or holds anything else.
    """
    sizes = listed(name, value, "whole numbers, such as (1, 28, 28)")
    return tuple(whole(name, size) for size in sizes)


def choice(name: str, value: T, allowed: Iterable[T]) -> T:
    """Return one of some allowed values, or say which those are.

    Raises
    ------
    ValueError
        If it is none of them.
    """
    options = list(allowed)
    if any(type(value) is type(option) and value == option for option in options):
        return value
    listed = ", ".join(map(repr, options))
    raise ValueError(f"{name}: got {shown(value)}; allowed are {listed}")


def batch(name: str, value: Any, at_least: int = 0) -> None:
    """Raise unless a value is a batch: a floating-point tensor (B, *shape).

    Parameters
    ----------
    name : str
        Of the argument.
    value : Tensor
    at_least : int
        Smallest number of samples B.

    Raises
    ------
    TypeError
        If it is no tensor, or one of whole numbers.
    ValueError
        If it is of another shape, or has fewer samples.
    """
    typed = isinstance(value, Tensor) and value.is_floating_point()
    if not typed or value.ndim < 2 or len(value) < at_least:
        few = f" with B of at least {at_least}" if at_least else ""
        raise (ValueError if typed else TypeError)(
            f"{name}: got {shown(value)}; allowed is a floating-point tensor (B, *shape){few}"
        )


def seed(name: str, value: Any) -> int:
    """Return a seed: a whole number from 0 to 2^63 - 1."""
    return whole(name, value, 0, 2**63 - 1)


def instance(name: str, value: Any, kinds: type | tuple[type, ...], allowed: str) -> Any:
    """Return what is of one of some types, or raise a ``TypeError`` that says what is allowed."""
    if isinstance(value, kinds):
        return value
    raise TypeError(f"{name}: got {shown(value)}; allowed is {allowed}")


def function(name: str, value: Any, classes: bool = False) -> Callable:
    """Return what can be called, or raise a ``TypeError``; a class counts only with ``classes``."""
    if callable(value) and (classes or not isinstance(value, type)):
        return value
    raise TypeError(f"{name}: got {shown(value)}; allowed is a function, or what is called as one")


def generator(name: str, value: Any) -> None:
    """Check a source of random numbers: ``torch.Generator``, a sequence of them, or None.

    Raises
    ------
    TypeError
        If it is anything else, such as a seed.
    """
    if value is None or isinstance(value, torch.Generator):
        return
    if isinstance(value, Sequence) and all(isinstance(g, torch.Generator) for g in value):
        return
    raise TypeError(
        f"{name}: got {shown(value)}; allowed is None or a torch.Generator, such as "
        "torch.Generator().manual_seed(0)"
    )


# --- tensors ------------------------------------------------------------------------------------


def tensor(name: str, x: Any, shape: str = "(B, *shape)", at_least: int = 1) -> Tensor:
    """Return a floating-point tensor of so many dimensions at least, or say what it is instead.

    Raises
    ------
    TypeError
        If it is no tensor, or one of whole numbers.
    ValueError
        If it has too few dimensions.
    """
    if not isinstance(x, Tensor) or not x.is_floating_point():
        raise TypeError(f"{name}: got {shown(x)}; allowed is a floating-point tensor {shape}")
    if x.ndim < at_least:
        raise ValueError(f"{name}: got {shown(x)}; allowed is a floating-point tensor {shape}")
    return x


def like(name: str, value: Any, x: Tensor, of: str = "x") -> Tensor:
    """Return a floating-point tensor of the shape of ``x``, or say what it is instead.

    Parameters
    ----------
    of : str
        Name of ``x`` (default "x").

    Raises
    ------
    TypeError, ValueError
        If it is no such tensor, or has another shape.
    """
    if tensor(name, value, at_least=0).shape != x.shape:
        raise ValueError(
            f"{name}: got shape {tuple(value.shape)}; allowed is that of {of}, {tuple(x.shape)}"
        )
    return value


def level(name: str, sigma: Any, positive: bool = False) -> None:
    """Check noise levels: a float or a tensor of finite numbers, none below 0.

    The values of tensors are looked at on the CPU only, so that no GPU has to be waited for, and
    not while ``torch.compile`` or ``vmap`` trace.

    Parameters
    ----------
    positive : bool
        Whether 0 is not allowed either (default: it is).

    Raises
    ------
    TypeError, ValueError
        If there is anything else.
    """
    if isinstance(sigma, Tensor):
        if sigma.is_cpu and sigma.numel() and not torch.compiler.is_compiling():
            try:
                ends = sigma.detach().aminmax()
                low, high = float(ends[0]), float(ends[1])
            except RuntimeError:  # under vmap nothing has a value
                return
            if not (low > 0 if positive else low >= 0) or not high < math.inf:
                bad = low if not low >= 0 or low == 0 else high
                bounds = "above 0" if positive else "of at least 0"
                raise ValueError(f"{name}: got {bad:g}; allowed are finite numbers {bounds}")
    elif positive:
        number(name, sigma, above=0)
    elif type(sigma) is not float or not 0 <= sigma < math.inf:
        number(name, sigma, at_least=0)


def not_above(name: str, sigma: Tensor, bound: Tensor, of: str) -> None:
    """Raise a ``ValueError`` if a noise level is above its bound; looks where ``level`` does."""
    if sigma.is_cpu and not torch.compiler.is_compiling():
        try:
            above = bool((sigma > bound).any())
        except RuntimeError:  # under vmap nothing has a value
            return
        if above:
            first = int((sigma > bound).nonzero()[0, 0])
            raise ValueError(
                f"{name}: got {float(sigma[first]):g} where {of} is {float(bound[first]):g}; "
                f"allowed is {of} at most"
            )


def labels(name: str, value: Any, classes: int | None = None, values: bool = False) -> Tensor:
    """Return the labels of samples: an int64 tensor (B,), or say what it is instead.

    Parameters
    ----------
    classes : int, optional
        Number of classes K, if it is known.
    values : bool
        Look at the values too: each from -1 (no label) to K - 1 (default: only at the type).

    Raises
    ------
    TypeError, ValueError
        If it is no such tensor, or a label is out of range.
    """
    if not isinstance(value, Tensor) or value.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"{name}: got {shown(value)}; allowed is an int64 tensor (B,)")
    if value.ndim != 1:
        raise ValueError(f"{name}: got {shown(value)}; allowed is an int64 tensor (B,)")
    if values and classes == 0:
        raise ValueError(
            f"{name}: got labels for a network without classes; allowed is one that was made with "
            "classes=K"
        )
    if values and len(value):
        low, high = (int(end) for end in value.aminmax())
        if low < -1 or (classes is not None and high >= classes):
            raise ValueError(
                f"{name}: got {low if low < -1 else high}; allowed are whole numbers from -1 (no "
                f"label){'' if classes is None else f' to {classes - 1}'}"
            )
    return value


def answer(name: str, output: Any, x: Tensor) -> Tensor:
    """Return what a network or function gave for ``x``, or raise: it must have the shape of ``x``.

    Without this an answer of shape (B, 1), say, would be broadcast.
    """
    if not isinstance(output, Tensor) or output.shape != x.shape:
        raise ValueError(
            f"{name}: got {shown(output)} as its answer; allowed is a tensor of the shape of x, "
            f"{tuple(x.shape)}"
        )
    return output


def finite(name: str, x: Any) -> None:
    """Raise a ``ValueError`` that names the first row of a tensor that is not finite, if any."""
    bad = ~x.isfinite()
    if bad.any():
        where = tuple(bad.nonzero()[0].tolist())
        raise ValueError(
            f"{name}: got {x[where].item()} at position {where} ({int(bad.sum())} such values); "
            "allowed are finite numbers"
        )
