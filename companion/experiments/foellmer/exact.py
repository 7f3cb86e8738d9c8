"""What is known exactly: the identity of drift and denoiser, the entropy, Girsanov's bound."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from companion import denoisers, networks, noise, objectives, samplers, training
from companion.experiments.experiment import Experiment
from companion.experiments.results import Results, tidy
from companion.oracles import GaussianMixture
from companion.samplers.foellmer import EARLIEST, log_normal

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["LINE", "PLANE", "Entropy", "Girsanov", "Identity", "levels", "relative_entropy"]

PLANE = GaussianMixture([[-1.5, 0.5], [1.0, -0.5]], [0.4, 0.3], [0.3, 0.7])
"""Two modes in the plane, of weights 0.3 and 0.7."""

LINE = GaussianMixture([[-1.0], [1.2]], [0.35, 0.25], [0.3, 0.7])
"""Two modes on a line, where the density of samples can be calculated."""

OTHER = GaussianMixture([[-1.0], [1.2]], [0.45, 0.35], [0.5, 0.5])
"""Modes at the same places, wider and of equal weights."""

Drift = Callable[[Tensor, float], Tensor]


def levels(count: int, high: float = 1e3, low: float = 1e-3) -> tuple[Tensor, Tensor]:
    """Times at log-linear noise levels, and their weights in an integral over time from 0 to 1.

    ``dt = 2 t (1 - t) d ln(sigma)``, by the trapezoidal rule.
    """
    log_sigma = torch.linspace(math.log(high), math.log(low), count, dtype=torch.float64)
    t = 1 / (1 + (2 * log_sigma).exp())
    weights = 2 * t * (1 - t) * (log_sigma[0] - log_sigma[1])
    weights[[0, -1]] /= 2
    return t, weights


def relative_entropy(mixture: GaussianMixture, points: int = 400, reach: float = 5.0) -> float:
    """KL divergence of a mixture in the plane from N(0, I), by quadrature, in nats."""
    line = torch.linspace(-reach, reach, points, dtype=torch.float64)
    x = torch.cartesian_prod(line, line)
    log_p = mixture.log_prob(x)
    cell = (line[1] - line[0]) ** 2
    return float((log_p.exp() * (log_p - log_normal(x))).sum() * cell)


@dataclass(frozen=True)
class Identity(Experiment):
    """The drift from the denoiser against the Monte Carlo of the heat semigroup.

    Parameters
    ----------
    draws : int
        Of the Monte Carlo, for each point.
    points : int
        States of the exact process, at each time.
    times : tuple of float
    seeds : int
    """

    draws: int = 10_000
    points: int = 20
    times: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9)
    seeds: int = 4

    sizes = {"smoke": {"draws": 100, "points": 5, "seeds": 2}}
    seconds = 3

    def run(self, session: Session) -> Results:
        """Relative error by form, time and seed; effective share of the draws."""
        errors = torch.zeros(2, len(self.times), self.seeds)
        shares = torch.zeros(len(self.times), self.seeds)
        for seed in range(self.seeds):
            generator = session.generator(seed)
            x1 = PLANE.sample(self.points, generator, dtype=torch.float64)
            z = noise.randn_like(x1, generator)
            for j, t in enumerate(self.times):
                x = t * x1 + math.sqrt(t * (1 - t)) * z
                exact = denoisers.foellmer_drift(PLANE.denoiser, x, t)
                for form in (0, 1):
                    drawn = samplers.monte_carlo_drift(
                        PLANE.log_prob, x, t, draws=self.draws, gradient=bool(form),
                        generator=generator,
                    )  # fmt: skip
                    errors[form, j, seed] = (drawn - exact).norm() / exact.norm()
                shares[j, seed] = self._share(x, t, generator)
        where = {"time": self.times, "seed": range(self.seeds)}
        return Results(
            [
                tidy(errors, {"form": ["Stein", "gradient"], **where}, measure="error"),
                tidy(shares, where, measure="effective share"),
            ]
        )

    def _share(self, x: Tensor, t: float, generator: torch.Generator) -> Tensor:
        """Effective sample size of the weights over their number, mean over points."""
        z = torch.randn(len(x), self.draws, 2, generator=generator, dtype=x.dtype)
        points = (x[:, None] + math.sqrt(1 - t) * z).flatten(0, 1)
        logs = (PLANE.log_prob(points) - log_normal(points)).view(len(x), -1)
        return (1 / logs.softmax(1).square().sum(1)).mean() / self.draws


@dataclass(frozen=True)
class Entropy(Experiment):
    """The energy of the drift against the relative entropy, in two ways; weights of the modes.

    Parameters
    ----------
    points : int
        Samples of the exact process, for each seed.
    times : int
        Of the quadrature over time.
    paths : int
        Simulated from 0, for each seed.
    steps : int
        Of Euler's method.
    seeds : int
    """

    points: int = 16_000
    times: int = 50
    paths: int = 2000
    steps: int = 200
    seeds: int = 8

    sizes = {"smoke": {"points": 200, "times": 20, "paths": 50, "steps": 40, "seeds": 2}}
    seconds = 6

    def run(self, session: Session) -> Results:
        """Energy by way and seed; weight of the second mode; some paths, as an array."""
        t, weights = levels(self.times)
        measured = torch.zeros(3, self.seeds)
        schedule = samplers.foellmer_times(self.steps).double()
        for seed in range(self.seeds):
            generator = session.generator(seed)
            x1 = PLANE.sample(self.points, generator, dtype=torch.float64)
            z = noise.randn_like(x1, generator)
            for time, weight in zip(t.tolist(), weights.tolist()):
                x = time * x1 + math.sqrt(time * (1 - time)) * z
                drift = denoisers.foellmer_drift(PLANE.denoiser, x, time)
                measured[0, seed] += weight * drift.square().sum(1).mean() / 2
            start = torch.zeros(self.paths, 2, dtype=torch.float64)
            paths = samplers.controlled(PLANE.denoiser, start, schedule, generator=generator)
            measured[1, seed] = paths.energy.mean()
            measured[2, seed] = PLANE.posterior(paths.x, 1e-3).weights[:, 1].mean()
        names = {"measure": ["exact process", "simulated paths", "weight of a mode"]}
        table = tidy(measured, {**names, "seed": range(self.seeds)})
        facts = {"relative entropy": relative_entropy(PLANE), "weight": float(PLANE.weights[1])}
        return Results(table, facts=facts)


@dataclass(frozen=True)
class Girsanov(Experiment):
    """The bound on the error of samples by the error of the drift, against the true error.

    On a line, where the density of the samples is calculated step by step on a grid, with a number
    of Euler's steps and with twice as many; what is linear in the step is extrapolated away.

    Parameters
    ----------
    steps : int
        Of Euler's method, the smaller number.
    grid : int
        Points from -4 to 4.
    times : int
        Of the bound's quadrature over time.
    training : int
        Steps of a small network, one of the drifts.
    seeds : int
        Such networks.
    """

    steps: int = 150
    grid: int = 300
    times: int = 100
    training: int = 300
    seeds: int = 3

    sizes = {"smoke": {"steps": 20, "grid": 100, "times": 30, "training": 10, "seeds": 2}}
    seconds = 6

    def run(self, session: Session) -> Results:
        """Bound and KL divergence, in nats, by drift."""
        line = torch.linspace(-4, 4, self.grid, dtype=torch.float64)
        measured = {
            name: [self._bound(drift, line), self._divergence(drift, line)]
            for name, drift in self._drifts(session).items()
        }
        values = torch.tensor(list(measured.values()))
        axes = {"drift": list(measured), "measure": ["bound", "KL"]}
        return Results(tidy(values, axes))

    def _drifts(self, session: Session) -> dict[str, Drift]:
        """The exact drift and those that are wrong in known ways, and trained ones."""
        right, other = _drift(LINE.denoiser), _drift(OTHER.denoiser)
        drifts: dict[str, Drift] = {
            "exact": right,
            "of another mixture": other,
            "wrong until 1/2": lambda x, t: (other if t < 0.5 else right)(x, t),
            "wrong after 1/2": lambda x, t: (right if t < 0.5 else other)(x, t),
            "0.8 of the exact": lambda x, t: 0.8 * right(x, t),
        }
        data = LINE.sample(4000, session.generator(1))
        nets = [
            networks.seeded(
                lambda: denoisers.Preconditioned(networks.MLP(1, width=16, depth=2), 1.0),
                1000 * session.seed + r,
            )
            for r in range(self.seeds)
        ]
        objective = objectives.DenoisingScoreMatching(noise.LogNormal(-0.8, 1.3), sigma_data=1.0)
        fit = training.fit(
            nets, objective, data, steps=self.training, lr=3e-3, seed=1000 * session.seed,
            device="cpu",
        )  # fmt: skip
        for r in range(self.seeds):
            drifts[f"network {r + 1}"] = _drift(_in_double(fit.denoiser[r].double()))
        return drifts

    def _bound(self, drift: Drift, line: Tensor) -> float:
        """``E int |u* - u|^2 dt / 2`` over the exact process, by quadrature."""
        right, total = _drift(LINE.denoiser), 0.0
        for t, weight in zip(*(v.tolist() for v in levels(self.times, 100.0, 0.01))):
            sigma = math.sqrt((1 - t) / t)
            density = (LINE.log_prob(line[:, None] / t, sigma) - math.log(t)).exp()
            wrong = (drift(line[:, None], t) - right(line[:, None], t)).square()[:, 0]
            total += weight * float((density * wrong).sum() * (line[1] - line[0])) / 2
        return total

    def _divergence(self, drift: Drift, line: Tensor) -> float:
        """KL divergence of the data from the samples, extrapolated to small steps."""
        few, many = (self._divergence_by(n * self.steps, drift, line) for n in (1, 2))
        return 2 * many - few

    def _divergence_by(self, steps: int, drift: Drift, line: Tensor) -> float:
        """KL divergence of the data from the samples of Euler's method."""
        times = [k / steps for k in range(steps + 1)]
        cell = line[1] - line[0]
        moved = times[1] * drift(line.new_zeros(1, 1), EARLIEST)
        density = _normal(line - moved[0], times[1])
        for start, stop in pairwise(times[1:]):
            mean = line + (stop - start) * drift(line[:, None], start)[:, 0]
            density = cell * density @ _normal(line - mean[:, None], stop - start)
        log_p = LINE.log_prob(line[:, None])
        return float((log_p.exp() * (log_p - density.clamp_min(1e-300).log())).sum() * cell)


def _normal(x: Tensor, variance: float) -> Tensor:
    return (-(x**2) / (2 * variance)).exp() / math.sqrt(2 * math.pi * variance)


def _drift(denoiser: denoisers.Denoiser) -> Drift:
    return lambda x, t: denoisers.foellmer_drift(denoiser, x, t)


def _in_double(network: torch.nn.Module) -> denoisers.Denoiser:
    @torch.no_grad()
    def denoiser(x: Tensor, sigma: Tensor | float) -> Tensor:
        return network(x, sigma)

    return denoiser
