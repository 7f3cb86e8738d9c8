"""What samplers are compared on: a known distribution, networks that learned it, and digits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from companion import data, denoisers, metrics, networks, noise, objectives, samplers, training
from companion.checkpoint import from_arrays, to_arrays
from companion.experiments.experiment import Experiment
from companion.experiments.gradient_estimation.descent import digit_set
from companion.experiments.gradient_estimation.methods import SIGMA_MAX
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = [
    "DIGITS",
    "EXACT",
    "IDEAL",
    "LEARNED",
    "PROBLEMS",
    "DigitNetworks",
    "PointNetworks",
    "Problem",
    "converged",
    "distance_by_seed",
    "error_by_seed",
    "problems",
]

EXACT, LEARNED, DIGITS = PROBLEMS = ("spirals, exact", "spirals, networks", "digits, networks")
IDEAL = "digits, ideal"


def point_network(number: int) -> nn.Module:
    """Return a small network for the plane, with first weights of its own."""
    return denoisers.Preconditioned(networks.seeded(partial(networks.MLP, 2), number), 1.0)


def digit_network(number: int) -> nn.Module:
    """Return a network on the 64 pixels of a digit, with first weights of its own."""
    make = partial(networks.MLP, (1, 8, 8), width=256)
    return denoisers.Preconditioned(networks.seeded(make, number), 0.75)


# --- networks ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PointNetworks(Experiment):
    """Networks that learn two spirals.

    Parameters
    ----------
    seeds : int
        Networks.
    steps : int
    """

    seeds: int = 8
    steps: int = 1200

    sizes = {"smoke": {"seeds": 2, "steps": 30}}
    seconds = 4

    def run(self, session: Session) -> Results:
        """Weights of all networks, and the seconds that training took."""
        return _trained(
            session, self.seeds, point_network, noise.LogNormal(-1.2, 1.6), 1.0,
            data.mixture("spirals").sample(20_000, session.generator(14)),
            steps=self.steps, batch_size=256, lr=3e-3,
        )  # fmt: skip


@dataclass(frozen=True)
class DigitNetworks(Experiment):
    """Networks that learn 8 x 8 digits.

    Parameters
    ----------
    seeds : int
        Networks.
    steps : int
    """

    seeds: int = 8
    steps: int = 500

    sizes = {"smoke": {"seeds": 2, "steps": 15}}
    seconds = 8

    def run(self, session: Session) -> Results:
        """Weights of all networks, and the seconds that training took."""
        return _trained(
            session, self.seeds, digit_network, noise.LogNormal(-0.5, 1.4), 0.75,
            data.images("digits", "train")[0], steps=self.steps, batch_size=128, lr=2e-3,
        )  # fmt: skip


def _trained(
    session: Session, number: int, make: Callable[[int], nn.Module], levels: Any, data_std: float,
    samples: Tensor, **options: Any,
) -> Results:  # fmt: skip
    seeds = [1000 * session.seed + r for r in range(number)]
    fitted = training.fit(
        [make(s) for s in seeds],
        objectives.DenoisingScoreMatching(levels, "edm", data_std),
        samples,
        seed=seeds,
        device="cpu",
        **options,
    )
    return Results(tidy([fitted.seconds], {"measure": ["seconds"]}), to_arrays(fitted.denoiser))


# --- problems ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Problem:
    """A denoiser for all seeds at once, given their noise in a row.

    Parameters
    ----------
    name : str
    denoiser : of (seeds x B, *shape)
    first : that of the first seed alone, for choosing settings
    shape : of a sample
    truth : (N, *shape) data to compare with
    unseen : (M, *shape) more data, from which real samples are taken
    """

    name: str
    denoiser: Any
    first: Any
    shape: tuple[int, ...]
    truth: Tensor = field(repr=False)
    unseen: Tensor = field(repr=False)

    @property
    def data(self) -> str:
        """What the samples are of: "spirals" or "digits"."""
        return self.name.split(",")[0]

    def noise(self, session: Session, number: int, count: int) -> Tensor:
        """Return standard normal noise, (count, *shape), by the number of its generator."""
        return torch.randn(count, *self.shape, generator=session.generator(number))


def problems(session: Session, seeds: int) -> dict[str, Problem]:
    """Return the three problems by name; networks of so many seeds."""
    law = data.mixture("spirals")
    digits, held_out = (data.images("digits", part)[0] for part in ("train", "test"))
    on_points: Any = from_arrays(session.run(PointNetworks(seeds=seeds)).arrays, point_network(0))
    on_digits: Any = from_arrays(session.run(DigitNetworks(seeds=seeds)).arrays, digit_network(0))
    fresh = law.sample(1000, session.generator(15))
    unseen = law.sample(4000, session.generator(23))
    listed = (
        Problem(EXACT, law.denoiser, law.denoiser, (2,), fresh, unseen),
        Problem(LEARNED, on_points, on_points[0], (2,), fresh, unseen),
        Problem(DIGITS, on_digits, on_digits[0], (1, 8, 8), digits, held_out),
    )
    return {problem.name: problem for problem in listed}


def ideal_problem(images: int) -> Problem:
    """Return the problem of the best denoiser of the training digits."""
    digits, held_out = (data.images("digits", part)[0] for part in ("train", "test"))
    denoiser = digit_set(images).denoiser
    return Problem(IDEAL, denoiser, denoiser, (1, 8, 8), digits, held_out)


# --- measures ------------------------------------------------------------------------------------


def converged(
    denoiser: Any, z: Tensor, high: float = SIGMA_MAX, steps: int = 160
) -> tuple[Tensor, float]:
    """Return where the flow from ``high * z`` ends, and about how far off that is (a mean).

    Heun's method is of second order: half the step leaves a quarter of the error, so a third of
    the difference between two numbers of steps is left, and is taken away.
    """
    fine, coarse = (
        samplers.heun(denoiser, high * z, noise.log_linear(n, high, 0.002))
        for n in (steps, steps // 2)
    )
    rest = (fine - coarse) / 3
    return fine + rest, float(rest.flatten(1).norm(dim=1).mean())


def error_by_seed(a: Tensor, b: Tensor, seeds: int) -> Tensor:
    """Mean Euclidean distance of paired samples, for each seed, (seeds,)."""
    return (a - b).flatten(1).norm(dim=1).view(seeds, -1).mean(1)


def distance_by_seed(x: Tensor, truth: Tensor, seeds: int, projections: int) -> Tensor:
    """Sliced Wasserstein distance of samples to the data, for each seed, (seeds,)."""
    parts = x.view(seeds, -1, *x.shape[1:])
    distance = partial(metrics.sliced_wasserstein, projections=projections)
    return torch.tensor([distance(part, truth) for part in parts])
