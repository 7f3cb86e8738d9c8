"""Bad calls of the whole public API, made from the signatures of everything in every ``__all__``.

``calls()`` goes through every public function, class and method, and gives each parameter values
that cannot be right: text for a number, a fraction for a count, a negative noise level, data with a
NaN, a denoiser whose answer has another shape. ``outcome`` tells what came back: a clear error, an
obscure one, or, worst, none. A new function is covered without a line here, as long as its
parameters have the names that the others use; otherwise ``valid_calls`` says how to call it.
"""

from __future__ import annotations

import fnmatch
import importlib
import inspect
import math
import pkgutil
import re
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from valid_calls import SPECIAL, VALID, X, instance

import companion

SKIPPED = {
    "companion.__main__": "the command line",
    "companion.checks": "the checks themselves, with tests of their own",
    "companion.cli": "the command line",
    "companion.data.darcy": "fields of one shape, with tests of their own",
    "companion.data.folders": "reads and writes files, with tests of their own",
    "companion.data.tiffs": "reads and writes files, with tests of their own",
    "companion.devices": "gets what fit has checked",
    "companion.experiments": "files and sessions, with tests of their own",
    "companion.objectives.known_noise": "part of the objectives, called through them",
    "companion.progress": "prints",
    "companion.training_data": "what fit checks, called through fit",
    "companion.restoration": "folders of images, with tests of their own",
    "companion.training_run": "gets what fit has checked",
}
"""Modules that are left out, and why."""

EXCUSED = {
    "checkpoint.digest(name=*": "words for the error",
    "denoisers.Noised(sigma_noise=too many levels)": "there is no batch yet to compare it with",
    "denoisers.foellmer_time(sigma=too many levels)": "levels of any shape",
    "metrics.*=whole numbers)": "exact in double precision",
    "metrics.FeatureClassifier(*": "made by train, which checks",
    "networks.*.forward(*": "denoise checks once what a network gets; layers again would cost time",
    "noise.*(x=a number)": "a single number can be scaled and corrupted as well",
    "noise.Discrete(sigmas=rising levels)": "their order does not matter",
    "noise.expand(name=*": "words for the error",
    "noise.from_variance_preserving(z=a number)": "a single number can be scaled as well",
    "noise.log_snr(sigma=too many levels)": "levels of any shape",
    "objectives.*(sigma_data_noise=too many levels)": "there is no batch yet to compare it with",
    "plotting.denoising_strip(sigmas=rising levels)": "any order can be drawn",
    "plotting.scatter(x=whole numbers)": "can be drawn as well",
    "plotting.scatter(x=an array of another library)": "can be drawn as well",
    "samplers.*Scheduler.from_config(*": "settings go to the constructor, which checks them",
    "training.fit(data=an array of another library)": "fit takes arrays",
}
"""Calls that are right by intention, and why."""

NEEDED: set[str] = set()
"""Excuses that were needed so far."""

WRAPPERS = ("relabelled", "Relabelled", "Clipped", "Counted", "Guided", "Inpainted", "Noised",
    "conditional")  # fmt: skip
"""They hold a denoiser without asking it: its answers are checked when it is asked."""

LEVELS = ("sigma", "sigma_noise", "sigma_data_noise", "sigma_min", "sigma_max", "sigma_data")
COUNTS = ("steps", "batch_size", "projections", "k", "points", "repeats", "batch", "block", "width",
    "depth", "layers", "train_steps", "draws", "every", "checkpoint_every", "window",
    "max_iterations", "order", "comparisons", "n", "columns", "digits", "resolution", "limit",
    "num_train_timesteps", "num_inference_steps", "iterations", "teacher_steps",
    "classes", "anderson", "dims")  # fmt: skip
CHOICES = ("weight", "decay", "gradient", "variant", "distribution", "solver", "split", "target",
    "name", "prediction_type", "beta_schedule", "timestep_spacing", "mixed_precision", "mean",
    "log")  # fmt: skip
SAMPLES = ("data", "a", "b", "features_a", "features_b", "features_real", "features_fake",
    "samples", "train")  # fmt: skip
POSITIVE = (*LEVELS, "std", "scale", "rho", "lr", "radius", "tolerance", "clip", "noise", "size",
    "limit", "clip_sample_range", "sample_max_value")  # fmt: skip
VALUES = ("a", "b", "ratios", "neither", "first", "second", "both", "scores")
"""Of statistics: numbers in any form."""
ARRAYS = (*VALUES, "x", "mean", "samples", "paths", "low", "high", "interval", "conditions",
    "verdicts", "groups", "sigmas", "config")  # fmt: skip
TYPES = {"Axes", "Figure", "GaussianMixture", "DataFrame", "Interval", "Module", "Mapping",
    "Callable", "Callback", "SigmaDistribution", "LevelDensity", "Objective",
    "Denoiser"}  # fmt: skip
"""Words of an annotation for which no text can stand."""


class Call(NamedTuple):
    """A call with one bad argument."""

    function: str
    parameter: str
    kind: str
    run: Callable[[], Any]


class Unknown(NamedTuple):
    """A public function that ``VALID`` cannot call."""

    function: str
    reason: str


def public() -> Iterator[tuple[str, Any]]:
    """Every function and class in an ``__all__``, once, by its first name."""
    seen: set[int] = set()
    for info in pkgutil.walk_packages(companion.__path__, "companion."):
        if info.name.startswith(tuple(SKIPPED)):
            continue
        module = importlib.import_module(info.name)
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            ours = getattr(value, "__module__", "").startswith("companion")
            if callable(value) and ours and id(value) not in seen and not _only_output(value):
                seen.add(id(value))
                yield f"{info.name.removeprefix('companion.')}.{name}", value


def _only_output(value: Any) -> bool:
    """Whether it is a protocol, an error, or a tuple that functions return: nobody calls those."""
    if not inspect.isclass(value):
        return not inspect.isfunction(inspect.unwrap(value))
    if issubclass(value, dict):
        return True
    protocol = getattr(value, "_is_protocol", False)
    return (
        protocol or issubclass(value, (tuple, Exception)) or value.__name__ in ("Checkpoint", "Fit")
    )


def parameters(function: Any) -> list[inspect.Parameter]:
    """Parameters that a caller names."""
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    listed = inspect.signature(function).parameters.values()
    return [p for p in listed if p.kind not in kinds and p.name != "self"]


def valid(name: str, function: Any) -> dict[str, Any]:
    """Arguments with which ``function`` works; the optional ones are left out.

    Raises
    ------
    KeyError
        If a parameter without default has a name that nobody knows.
    """
    special = SPECIAL.get(name.rsplit(".", 1)[-1], {}) | SPECIAL.get(name, {})
    needed = [p.name for p in parameters(function) if p.default is inspect.Parameter.empty]
    made = {p: (special[p] if p in special else VALID[p])() for p in needed}
    return made | {
        p: make() for p, make in special.items() if p in inspect.signature(function).parameters
    }


def bad_values(parameter: inspect.Parameter) -> Iterator[tuple[str, Any]]:
    """Values that cannot be right for a parameter of this name and annotation."""
    name, text = parameter.name, str(parameter.annotation)
    optional = "None" in text or text == "Generator" or parameter.default is None
    words = set(re.findall(r"\w+", text))
    numeric = bool(words & {"float", "int", "Tensor"}) and "str" not in words
    if numeric or (name in ARRAYS and words == {"Any"}) or (words & TYPES and "str" not in words):
        yield "text", "0.5"
        if not optional:
            yield "None", None
        yield "an object", object()
    if numeric:
        yield from _bad_numbers(name, words, "Sequence" in text or "tuple" in text)
    if numeric and "Tensor" in words:
        yield from _bad_tensors(name)
    if words & {"Sequence", "Iterable", "Mapping", "tuple"} and not re.search(
        r"(^|\| )(int|float|Generator|str)", text
    ):
        yield "no sequence", 3
    if name in VALUES and words == {"Any"}:
        yield from _bad_statistics(name)
    if name == "sigmas" and "Distribution" not in text and numeric:
        yield "rising levels", torch.tensor([0.1, 1.0, 2.0])
        yield "a negative level", torch.tensor([1.0, -0.5])
        yield "a NaN", torch.tensor([1.0, math.nan, 0.0])
    if name in CHOICES and words == {"str"}:
        yield "an unknown word", "no such word"
        yield "a number", 3
    if name == "generator":
        yield "a number", 0
        yield "text", "seed"
    if name in ("denoiser", "objective", "network", "make", "metric", "sampler", "teacher"):
        yield "a number", 3.0
    if name == "denoiser":
        yield "another shape", lambda x, sigma: x[:, :1]
        yield "a tuple", lambda x, sigma: (x, x)


def _bad_numbers(name: str, words: set[str], several: bool) -> Iterator[tuple[str, Any]]:
    if "float" in words and "Tensor" not in words and not several:
        yield "NaN", math.nan
        yield "a vector", torch.ones(2)
    if name in POSITIVE and "float" in words:
        yield "a negative number", -1.0
        if name in LEVELS:
            yield "infinity", math.inf
            if "Tensor" in words:
                yield "a tensor of NaN", torch.tensor(math.nan)
                yield "too many levels", torch.full((7,), 0.5)
    if "int" in words and not several and "float" not in words:
        yield "a fraction", 1.5
        yield "NaN", math.nan
        if name in COUNTS:
            yield "a negative number", -1


def _bad_tensors(name: str) -> Iterator[tuple[str, Any]]:
    if name in SAMPLES:
        bad = X.clone()
        bad[2, 1] = math.nan
        yield "data with a NaN", bad
        yield "no data", X[:0]
    if name in ("x", "z", "batch", "a", "b", "data"):
        yield "whole numbers", torch.ones(4, 2, dtype=torch.int64)
        yield "a number", torch.tensor(1.0)
        yield "an array of another library", np.ones((4, 2), np.float32)


def _bad_statistics(name: str) -> Iterator[tuple[str, Any]]:
    yield "a NaN", [[0.1, math.nan, 0.2]] * 2 if name == "scores" else [0.1, math.nan, 0.2]
    yield "one value", [0.5]
    yield "words", ["a", "b", "c"]


def targets() -> Iterator[tuple[str, Any, dict[str, Any]] | Unknown]:
    """What is called: functions, classes, and the public methods of their objects."""
    for name, value in public():
        try:
            arguments = valid(name, value)
        except KeyError as missing:
            yield Unknown(name, f"no valid value for {missing}")
            continue
        yield name, value, arguments
        if not inspect.isclass(value):
            continue
        try:
            made = instance(name, value, arguments)
        except Exception as error:
            yield Unknown(name, repr(error))
            continue
        for method, bound in _methods(made):
            try:
                yield f"{name}.{method}", bound, valid(f"{name}.{method}", bound)
            except KeyError as missing:
                yield Unknown(f"{name}.{method}", f"no valid value for {missing}")


def _methods(made: Any) -> Iterator[tuple[str, Any]]:
    """Public methods of an object, and those of its class, that are of this module."""
    for method, function in inspect.getmembers(type(made), inspect.isroutine):
        own = getattr(function, "__module__", None) or ""
        public = method == "__call__" or not method.startswith("_")
        if own.startswith("companion") and public and method != "extra_repr":
            yield method, getattr(made, method)


def calls() -> Iterator[Call | Unknown]:
    """Every call with one bad argument, after the same call with none."""
    for target in targets():
        if excused(f"{target[0]}("):
            continue
        if isinstance(target, Unknown):
            yield target
            continue
        name, function, arguments = target
        try:
            _quiet(lambda f=function, a=arguments: f(**a))
        except Exception as error:
            yield Unknown(name, repr(error)[:200])
            continue
        for parameter in parameters(function):
            for kind, value in bad_values(parameter):
                held = name.rsplit(".", 1)[-1] in WRAPPERS and kind in ("another shape", "a tuple")
                if held or excused(f"{name}({parameter.name}={kind})"):
                    continue
                given = {**arguments, parameter.name: value}
                yield Call(name, parameter.name, kind, lambda f=function, g=given: f(**g))


def excused(call: str) -> bool:
    """Whether a call is right by intention; notes which excuse was needed."""
    found = [pattern for pattern in EXCUSED if fnmatch.fnmatchcase(call, pattern)]
    NEEDED.update(found)
    return bool(found)


def _quiet(run: Callable[[], Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return run()


def outcome(call: Call) -> tuple[str, str]:
    """What a bad call gives: ("clear" | "obscure" | "silent", what was said)."""
    try:
        result = _quiet(call.run)
    except (ValueError, TypeError, RuntimeError, ArithmeticError, LookupError, AttributeError,
            AssertionError, OSError) as error:  # fmt: skip
        said = str(error)
        clear = (
            isinstance(error, (ValueError, TypeError))
            and call.parameter in said
            and ("allowed" in said or "got" in said)
        )
        return ("clear" if clear else "obscure"), f"{type(error).__name__}: {said[:150]}"
    return "silent", f"returned {type(result).__name__}"


def main() -> None:
    """Print every call that is not answered clearly, and the counts."""
    counts: Counter[str] = Counter()
    for call in calls():
        if isinstance(call, Unknown):
            print(f"UNKNOWN {call.function}: {call.reason}")
            counts["unknown"] += 1
            continue
        verdict, said = outcome(call)
        counts[verdict] += 1
        if verdict != "clear":
            print(f"{verdict:8s}{call.function}({call.parameter}={call.kind}): {said}")
    print(dict(counts), file=sys.stderr)


if __name__ == "__main__":
    main()
