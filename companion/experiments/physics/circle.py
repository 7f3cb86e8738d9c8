"""Points on a circle, exactly and by networks: the bias of both forms."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from companion import denoisers, networks, noise, objectives, oracles, samplers
from companion.experiments.experiment import Experiment
from companion.experiments.physics.methods import (
    LATE,
    TRAINED,
    Corrected,
    fit_all,
    levels,
    objective,
    weights,
)
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["WEIGHTS", "Circle", "ExactCircle", "minimiser", "on_circle", "radius"]

WEIGHTS = {"mean": 0.1, "sample": 0.005}
"""``c`` of the official code for its circle."""
KAPPA = 2.0
SIGMA_DATA = math.sqrt(0.5)
FORMS = ("mean", "sample")


def on_circle(x: Tensor) -> Tensor:
    """Residual of points (B, 2), ``|x|^2 - 1``, (B,)."""
    return x.square().sum(1) - 1


def radius(length: Tensor, weight: Tensor, pull: Tensor) -> Tensor:
    """Length of the answer that minimises the mean form (eq-ph-radius), of the same shape.

    The root in [A, 1] of ``w (r - A) + (2 c / v) r (r^2 - 1)``, by bisection.

    Parameters
    ----------
    length : tensor
        ``A``, that of the best denoiser's answer.
    weight, pull : tensors
        ``w`` and ``c / v``.
    """
    low, high = length.clone(), torch.ones_like(length)
    for _ in range(50):
        middle = (low + high) / 2
        force = weight * (middle - length) + 2 * pull * middle * (middle**2 - 1)
        low, high = torch.where(force < 0, middle, low), torch.where(force < 0, high, middle)
    return (low + high) / 2


def minimiser(exact: Any, c: float, form: str = "mean") -> Callable[[Tensor, Tensor | float], Any]:
    """Return the denoiser that minimises a form on the circle.

    Of the mean form in closed form. Of the sample form by Gauss-Newton steps at each state, with
    the exact denoiser at the smallest level.
    """
    lowest = objectives.physics_levels()[-1].double()

    def denoiser(x: Tensor, sigma: Tensor | float) -> Tensor:
        best = exact.denoiser(x, sigma).double()
        w, v = weights(torch.as_tensor(sigma, dtype=torch.float64).expand(len(x)))
        if form == "mean":
            length = best.norm(dim=1)
            return (best * (radius(length, w, c / v) / length.clamp_min(1e-12))[:, None]).to(x)
        share = float(lowest / sigma)
        moved = torch.zeros_like(best)
        for _ in range(4):
            with torch.enable_grad():
                answer = (best + moved).requires_grad_()
                state = torch.lerp(answer, x.double(), share)
                wrong = on_circle(exact.denoiser(state, float(lowest)))
                (slope,) = torch.autograd.grad(wrong.sum(), answer)
            rest = wrong.detach() - (slope * moved).sum(1)
            pull = c / v
            moved = -slope * (pull * rest / (w + pull * slope.square().sum(1)))[:, None]
        return (best + moved).to(x)

    return denoiser


def angles(x: Tensor) -> Tensor:
    """Angles (..., n) of points (..., n, 2), from -pi to pi, 0 where the density is largest."""
    return torch.atan2(x[..., 1], x[..., 0])


def angular_distance(x: Tensor, other: Tensor) -> Tensor:
    """Wasserstein distance of order 1 of the angles of points, in radians, over the last but one.

    Cut where the density is smallest, opposite of the direction.
    """
    a, b = angles(x).sort(dim=-1).values, angles(other).sort(dim=-1).values
    at = torch.linspace(0, 1, a.shape[-1] + 1)[:-1] + 0.5 / a.shape[-1]
    return (a - torch.quantile(b, at.to(b))).abs().mean(-1)


@dataclass(frozen=True)
class ExactCircle(Experiment):
    """What the minimum of each form does to samples of the circle: no network, no data.

    Parameters
    ----------
    weights : tuple of float
        ``c``, above 0.
    batches, samples : int
        Independent batches of samples, and their size; all weights start from the same noise.
    states : int
        Noisy points at each level, for the residual of an estimate.
    """

    weights: tuple[float, ...] = (0.001, 0.005, 0.02, 0.1, 0.5)
    batches: int = 8
    samples: int = 500
    states: int = 400

    sizes = {"smoke": {"weights": (0.005, 0.1), "batches": 2, "samples": 10, "states": 10}}
    seconds = 8

    def run(self, session: Session) -> Results:
        """Mean cosine by form and c; residual of both estimates of the exact denoiser by level."""
        exact = oracles.VonMises(KAPPA)
        schedule = levels(100)
        total = self.batches * self.samples
        z = schedule[0] * noise.randn((total, 2), generator=session.generator(1))

        def cosine(denoiser: Any) -> Tensor:
            x = samplers.ddpm(denoiser, z, schedule, generator=session.generator(2))
            return angles(x).cos().view(self.batches, -1).mean(1)

        seeds = {"seed": range(self.batches)}
        tables = [tidy(cosine(exact.denoiser), seeds, measure="cosine", form="none", c=0.0)]
        for form in FORMS:
            values = torch.stack([cosine(minimiser(exact, c, form)) for c in self.weights])
            tables.append(tidy(values, {"c": self.weights} | seeds, measure="cosine", form=form))
        points = exact.sample(self.states, session.generator(3), dtype=torch.float64)
        lowest = schedule[-2].double()
        for sigma in schedule[:-1:3].double():
            x = noise.corrupt(points, sigma, generator=session.generator(4))
            best = exact.denoiser(x, sigma)
            stepped = exact.denoiser(torch.lerp(best, x, float(lowest / sigma)), lowest)
            found = [on_circle(e).abs().mean() for e in (best, stepped)]
            tables.append(tidy(found, {"form": FORMS}, measure="residual", sigma=float(sigma)))
        return Results(tables, facts={"cosine of the data": exact.mean_length})


def circle_network(seed: int, width: int) -> nn.Module:
    """Return a small denoiser of points with first weights of its own."""
    make = partial(networks.MLP, 2, width=width)
    return denoisers.Preconditioned(networks.seeded(make, seed), SIGMA_DATA)


@dataclass(frozen=True)
class Circle(Experiment):
    """Networks on the circle: plain, with both forms, and plain with corrected samples.

    Parameters
    ----------
    sizes_of_data : tuple of int
        Points that are trained on.
    evaluations : int
        Of the network in training, for each sample of a batch: the sample form makes half as many
        steps.
    batch, width, seeds : int
        Samples of a batch, hidden units, networks of each kind.
    steps, samples : int
        Of the sampler, and for each network.
    """

    sizes_of_data: tuple[int, ...] = (32, 128, 10_000)
    evaluations: int = 2000
    batch: int = 64
    width: int = 64
    seeds: int = 6
    steps: int = 50
    samples: int = 500

    sizes = {
        "smoke": {"sizes_of_data": (32, 500), "evaluations": 10, "seeds": 2, "steps": 4,
                  "samples": 20, "batch": 16}
    }  # fmt: skip
    seconds = 40

    def run(self, session: Session) -> Results:
        """Residual, angular distance, cosine and held-out error, by method, points and seed."""
        exact = oracles.VonMises(KAPPA)
        sets = {
            n: exact.sample(n, session.generator(10 + k)) for k, n in enumerate(self.sizes_of_data)
        }
        seeds = [100 * session.seed + r for r in range(self.seeds)]
        fresh = exact.sample(4000, session.generator(20))
        tables, arrays = [], {}
        for form in TRAINED:
            stack = fit_all(
                partial(circle_network, width=self.width),
                [(objective(form, on_circle, WEIGHTS), x) for x in sets.values()],
                self.evaluations, seeds, batch_size=self.batch, lr=3e-3, ema=0.99,
            )  # fmt: skip
            ways = {form: stack}
            if form == "none":
                ways |= {"late": Corrected(stack, exact.project, LATE),
                         "always": Corrected(stack, exact.project, math.inf)}  # fmt: skip
            drawn = {way: self._draw(session, network) for way, network in ways.items()}
            if form == "none":
                drawn["end"] = exact.project(drawn["none"])
            for way, x in drawn.items():
                tables += self._tables(way, x, fresh)
                arrays[way] = x.view(len(sets), self.seeds, -1, 2)[-1, 0]
            error = self._held_out(session, stack, fresh)
            tables.append(tidy(error, self._dims(), measure="held-out error", method=form))
        return Results(tables, arrays)

    def _dims(self) -> dict[str, Any]:
        return {"points": self.sizes_of_data, "seed": range(self.seeds)}

    def _draw(self, session: Session, network: Any) -> Tensor:
        """Samples of all networks, from the same noise for every method."""
        schedule = levels(self.steps)
        total = len(self.sizes_of_data) * self.seeds * self.samples
        z = schedule[0] * noise.randn((total, 2), generator=session.generator(21))
        return samplers.ddpm(network, z, schedule, generator=session.generator(22))

    def _tables(self, way: str, x: Tensor, fresh: Tensor) -> list[Any]:
        parts = x.view(len(self.sizes_of_data), self.seeds, self.samples, 2)
        wrong = on_circle(x).abs().view(parts.shape[:3]).mean(2)
        found = {
            "residual": wrong,
            "distance": angular_distance(parts, fresh),
            "cosine": angles(parts).cos().mean(2),
        }
        return [tidy(v, self._dims(), measure=m, method=way) for m, v in found.items()]

    @torch.no_grad()
    def _held_out(self, session: Session, stack: Any, fresh: Tensor) -> Tensor:
        """Denoising error on points that none has seen, less that of the best denoiser."""
        points = fresh[:2000]
        n, runs = len(points), len(stack)
        sigmas = noise.Discrete(tuple(objectives.physics_levels().tolist()))
        sigma = sigmas.sample(n, generator=session.generator(23))
        x = noise.corrupt(points, sigma, generator=session.generator(24))
        answer = stack(x.repeat(runs, 1), sigma.repeat(runs)).view(runs, n, 2)
        wrong = (answer - oracles.VonMises(KAPPA).denoiser(x, sigma)).square().mean(2)
        return (weights(sigma)[0] * wrong).mean(1).view(len(self.sizes_of_data), self.seeds)
