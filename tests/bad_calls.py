"""Bad calls of the whole public API, made from the signatures of everything in every ``__all__``.

``calls()`` goes through every public function, class and method, and gives each parameter values
that cannot be right: text for a number, a fraction for a count, a negative noise level, data with a
NaN, a denoiser whose answer has another shape. ``outcome`` tells what came back: a clear error, an
obscure one, or, worst, none. A new function is covered without a line here, as long as its
parameters have the names that the others use; otherwise ``VALID`` says how to call it.
"""

from __future__ import annotations

import importlib
import inspect
import math
import pkgutil
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import diffusers
import torch
from conftest import three, tiny_mlp

import companion
from companion import checkpoint, networks, noise, objectives, samplers

SKIPPED = ("companion.experiments", "companion.plotting", "companion.cli", "companion.__main__",
    "companion.progress", "companion.checks", "companion.claims", "companion.images",
    "companion.profiles", "companion.records", "companion.training_run",
    "companion.devices")  # fmt: skip
"""Modules whose functions draw, print, are the command line, or get what ``fit`` has checked."""

NUMBERS = [0.5, 0.7, 0.9]
X = torch.randn(12, 2, generator=torch.Generator().manual_seed(0))
SIGMAS = noise.log_linear(3, 5.0, 0.1)


class Unet(torch.nn.Module):
    """As small as a network of diffusers can be."""

    def forward(self, z, t, return_dict=False):
        """Answer with the state."""
        return (z,)


VALID: dict[str, Callable[[], Any]] = {
    "a": lambda: X[:6],
    "alpha": lambda: 0.5,
    "alphas_cumprod": lambda: noise.ddpm_alphas_cumprod(20),
    "b": lambda: X[6:],
    "arrays": lambda: checkpoint.to_arrays(tiny_mlp()),
    "batch": lambda: X[:4],
    "below": lambda: torch.full((4,), 0.1),
    "conditions": lambda: [True, False],
    "data": lambda: X,
    "denoiser": lambda: tiny_mlp(output=0.3),
    "denoisers": lambda: [tiny_mlp(0), tiny_mlp(1)],
    "dim": lambda: 2,
    "eps": lambda: torch.zeros(4, 2),
    "estimate": lambda: X[:4],
    "features_a": lambda: X[:6],
    "features_b": lambda: X[6:],
    "features_fake": lambda: X[:6],
    "features_real": lambda: X[6:],
    "generator": lambda: torch.Generator().manual_seed(0),
    "grid": lambda: torch.arange(5.0),
    "high": lambda: 5,
    "holds": lambda: True,
    "items": lambda: [1, 2],
    "make": lambda: lambda: networks.MLP(2, width=8),
    "means": lambda: [[0.0, 0.0], [1.0, 1.0]],
    "metric": lambda: lambda a, b: float((a.mean() - b.mean()).abs()),
    "mixture": three,
    "n": lambda: 5,
    "name": lambda: "ring",
    "module": tiny_mlp,
    "modules": tiny_mlp,
    "network": lambda: networks.MLP(2, width=8),
    "objective": lambda: objectives.DenoisingScoreMatching(),
    "objectives": lambda: (objectives.DenoisingScoreMatching(),),
    "ratios": lambda: [0.5, 0.7, 0.9],
    "sampler": lambda: samplers.ddim,
    "samples": lambda: X,
    "shape": lambda: (2,),
    "sigma": lambda: 0.5,
    "sigma_data_noise": lambda: 0.2,
    "sigma_noise": lambda: 0.2,
    "sigmas": lambda: SIGMAS,
    "size": lambda: 6,
    "stds": lambda: 0.1,
    "steps": lambda: 3,
    "target": lambda: X[4:8],
    "train": lambda: X[:8] + 0.5,
    "u": lambda: torch.full((4,), 0.5),
    "v": lambda: X[:4],
    "value": lambda: torch.full((3,), 1.5),
    "weights": lambda: (1.0,),
    "x": lambda: X[:4],
    "z": lambda: X[:4],
}
"""A valid value for each name of a parameter that has no default."""

SPECIAL: dict[str, dict[str, Callable[[], Any]]] = {
    "Discrete": {"sigmas": lambda: (0.1, 1.0)},
    "DiffusersDenoiser": {"unet": Unet},
    "from_diffusers": {"unet": Unet},
    "from_scheduler": {"scheduler": lambda: diffusers.DDIMScheduler},
    "interaction": dict.fromkeys(("neither", "first", "second", "both"), lambda: NUMBERS),
    "mean_interval": {"a": lambda: NUMBERS},
    "paired_difference": {"a": lambda: NUMBERS, "b": lambda: [0.1, 0.4, 0.2]},
    "paired_ratio": {"a": lambda: NUMBERS, "b": lambda: [0.1, 0.4, 0.2]},
    "ratio_interval": {"ratios": lambda: NUMBERS},
    "best_of_others": {"scores": lambda: [[0.5, 0.6, 0.7], [0.6, 0.2, 0.9]]},
    "Linear": {"in_features": lambda: 2, "out_features": lambda: 3},
    "extended": {"sigma": lambda: torch.tensor(0.5)},
    "timestep": {"sigma": lambda: torch.tensor(0.5)},
    "GaussianMixture": {"weights": lambda: [1.0, 2.0]},
    "images": {"name": lambda: "digits"},
    "reverse_steps": {"sigma": lambda: torch.full((4,), 0.5)},
}
"""Where a name means something else."""

LEVELS = ("sigma", "sigma_noise", "sigma_data_noise", "sigma_min", "sigma_max", "sigma_data")
COUNTS = ("steps", "batch_size", "projections", "k", "points", "repeats", "batch", "block", "width",
    "depth", "layers", "train_steps", "draws", "every", "checkpoint_every", "window",
    "max_iterations", "order", "comparisons", "n")  # fmt: skip
CHOICES = ("weight", "decay", "gradient", "variant", "distribution", "split", "target", "name",
    "prediction_type", "beta_schedule", "timestep_spacing", "mixed_precision")  # fmt: skip
SAMPLES = ("data", "a", "b", "features_a", "features_b", "features_real", "features_fake",
    "samples", "train")  # fmt: skip
POSITIVE = (*LEVELS, "std", "scale", "rho", "lr", "radius", "tolerance", "clip", "noise")


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
        if info.name.startswith(SKIPPED):
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
    special = SPECIAL.get(name, {})
    needed = [p.name for p in parameters(function) if p.default is inspect.Parameter.empty]
    made = {p: (special[p] if p in special else VALID[p])() for p in needed}
    return made | {
        p: make() for p, make in special.items() if p in inspect.signature(function).parameters
    }


def bad_values(parameter: inspect.Parameter) -> Iterator[tuple[str, Any]]:
    """Values that cannot be right for a parameter of this name and annotation."""
    name, text = parameter.name, str(parameter.annotation)
    optional = "None" in text or text == "Generator"
    words = set(
        text.replace("|", " ").replace("[", " ").replace("]", " ").replace(",", " ").split()
    )
    numeric = words & {"float", "int", "Tensor"}
    if numeric and "str" not in words:
        yield "text", "0.5"
        if not optional:
            yield "None", None
        yield "an object", object()
    if "float" in words and "Tensor" not in words and "Sequence" not in text:
        yield "NaN", math.nan
    if name in POSITIVE and "float" in words:
        yield "a negative number", -1.0
        if name in LEVELS:
            yield "infinity", math.inf
            if "Tensor" in words:
                yield "a tensor of NaN", torch.tensor(math.nan)
                yield "too many levels", torch.full((7,), 0.5)
    if "int" in words and "Sequence" not in text and "float" not in words:
        yield "a fraction", 1.5
        yield "NaN", math.nan
        if name in COUNTS:
            yield "a negative number", -1
    if name in SAMPLES and "Tensor" in words:
        bad = X.clone()
        bad[2, 1] = math.nan
        yield "data with a NaN", bad
        yield "no data", X[:0]
    if name in ("x", "z", "batch", "a", "b", "data") and "Tensor" in words:
        yield "whole numbers", torch.ones(4, 2, dtype=torch.int64)
        yield "a number", torch.tensor(1.0)
    if name == "sigmas" and "Distribution" not in text:
        yield "rising levels", torch.tensor([0.1, 1.0, 2.0])
        yield "a negative level", torch.tensor([1.0, -0.5])
        yield "a NaN", torch.tensor([1.0, math.nan, 0.0])
    if "Distribution" in text or "LevelDensity" in text:
        yield "text", "lognormal"
    if name in CHOICES and "str" in words:
        yield "an unknown word", "no such word"
        yield "a number", 3
    if name == "generator":
        yield "a number", 0
        yield "text", "seed"
    if name in ("denoiser", "objective", "network", "make", "metric", "sampler", "teacher"):
        yield "text", "denoiser"
        yield "a number", 3.0
    if name == "denoiser":
        yield "another shape", lambda x, sigma: x[:, :1]
        yield "a tuple", lambda x, sigma: (x, x)


def targets() -> Iterator[tuple[str, Any, dict[str, Any]] | Unknown]:
    """What is called: functions, classes, and the public methods of their objects."""
    for name, value in public():
        short = name.rsplit(".", 1)[-1]
        try:
            arguments = valid(short, value)
        except KeyError as missing:
            yield Unknown(name, f"no valid value for {missing}")
            continue
        yield name, value, arguments
        if not inspect.isclass(value):
            continue
        try:
            made = value(**arguments)
        except Exception as error:
            yield Unknown(name, repr(error))
            continue
        for method, function in inspect.getmembers(type(made), inspect.isfunction):
            own = function.__module__.startswith("companion")
            if (
                not own
                or (method.startswith("_") and method != "__call__")
                or method == "extra_repr"
            ):
                continue
            bound = getattr(made, method)
            try:
                yield f"{name}.{method}", bound, valid(method, bound)
            except KeyError as missing:
                yield Unknown(f"{name}.{method}", f"no valid value for {missing}")


def calls() -> Iterator[Call | Unknown]:
    """Every call with one bad argument, after the same call with none."""
    for target in targets():
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
                given = {**arguments, parameter.name: value}
                yield Call(name, parameter.name, kind, lambda f=function, g=given: f(**g))


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
