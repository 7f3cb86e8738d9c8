"""Flow along a line: a linear and a bilinear equation, exactly and by networks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import jacrev, vmap

from companion import data, denoisers, metrics, networks, noise, oracles, samplers
from companion.experiments.experiment import Experiment
from companion.experiments.physics.methods import (
    LATE,
    TRAINED,
    Corrected,
    fit_all,
    gauss_newton,
    levels,
    objective,
    weights,
)
from companion.experiments.results import Results, tidy
from companion.statistics import best_of_others

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["EQUATIONS", "WEIGHTS", "ExactLines", "Lines", "minimiser"]

EQUATIONS = {"linear": "source", "bilinear": "permeability"}
"""Name of an equation -> what is random in ``data.darcy.Line``."""
WEIGHTS = (1e-8, 1e-6)
"""``c`` that are tried: the residual counts in units of the source, so it is large."""


def minimiser(
    line: data.darcy.Line, exact: Any, c: float, rounds: int = 4
) -> Callable[[Tensor, Tensor | float], Tensor]:
    """Return the denoiser that minimises the mean form, by Gauss-Newton steps at each state."""
    size, equations = math.prod(line.shape), line.cells

    def flat(one: Tensor) -> Tensor:
        return line.residual(one.view(1, *line.shape))[0]

    def denoiser(x: Tensor, sigma: Tensor | float) -> Tensor:
        best = exact.denoiser(x, sigma).double().flatten(1)
        w, v = weights(torch.as_tensor(sigma, dtype=torch.float64).view(1))
        moved = torch.zeros_like(best)
        for _ in range(rounds):
            slope = vmap(jacrev(flat))(best + moved)
            wrong = line.residual((best + moved).view(-1, *line.shape))
            rest = wrong[..., None] - slope @ moved[..., None]
            # (2 w / d) moved + c / (v K) J'(J moved + rest) = 0, for few equations: K x K.
            ridge = 2 * w * v * equations / (size * c)
            gram = slope @ slope.mT + ridge * torch.eye(equations, dtype=best.dtype)
            moved = -(slope.mT @ torch.linalg.solve(gram, rest))[..., 0]
        return (best + moved).view_as(x).to(x)

    return denoiser


def pressure_left(line: data.darcy.Line, x: Tensor) -> Tensor:
    """Root mean square of the pressure less that of solving again, of samples (S, n, 2, cells)."""
    flat = x.flatten(0, 1)
    wrong = (line.repair(flat.double()) - flat)[:, 0].square().mean(1)
    return wrong.view(x.shape[:2]).mean(1).sqrt()


def measured(line: data.darcy.Line, x: Tensor, fresh: Tensor) -> dict[str, Tensor]:
    """Numbers of samples (S, n, 2, cells) of S seeds."""
    wrong = line.residual(x.flatten(0, 1)).square().mean(1).view(x.shape[:2]).mean(1).sqrt()
    size = x[:, :, 0].flatten(1).std(1) / fresh[:, 0].std()
    distance = [metrics.sliced_wasserstein(part, fresh, projections=64) for part in x]
    return {
        "residual": wrong,
        "residual over size": wrong / size,
        "size": size,
        "solved again": pressure_left(line, x),
        "distance": torch.tensor(distance),
    }


@dataclass(frozen=True)
class ExactLines(Experiment):
    """Jensen's gap of both equations, and what the minimum of the mean form does to samples.

    The denoiser is exact for the training fields. No network.

    Parameters
    ----------
    weight : float
        ``c``, the largest that is tried with networks.
    fields : int
        That the exact denoiser knows.
    states : int
        Noisy fields at each level.
    batches, samples, steps : int
        Independent batches of samples, their size, and steps of the sampler.
    """

    weight: float = 1e-6
    fields: int = 4000
    states: int = 64
    batches: int = 4
    samples: int = 32
    steps: int = 30

    sizes = {
        "smoke": {"fields": 50, "states": 5, "batches": 2, "samples": 4, "steps": 3},
    }
    seconds = 15

    def run(self, session: Session) -> Results:
        """Residual of the exact denoiser and of the minimum by level; size and residual."""
        tables: list[Any] = []
        for k, (name, random) in enumerate(EQUATIONS.items()):
            line = data.darcy.Line(random=random)
            draw = partial(line.sample, dtype=torch.float64)
            exact = oracles.Empirical(draw(self.fields, session.generator(30 + k)))
            biased = minimiser(line, exact, self.weight)
            points = draw(self.states, session.generator(32 + k))
            for sigma in levels(100)[1:-1:6].double():
                x = noise.corrupt(points, sigma, generator=session.generator(34))
                best, moved = exact.denoiser(x, sigma), biased(x, sigma)
                found = {
                    "gap": line.residual(best).square().mean().sqrt(),
                    "gap of the minimum": line.residual(moved).square().mean().sqrt(),
                    "shift": (moved - best).square().mean().sqrt(),
                }
                level = {"equation": name, "sigma": float(sigma)}
                tables += [tidy([v], {"seed": [0]}, measure=m, **level) for m, v in found.items()]
            tables += self._samples(session, line, {"none": exact.denoiser, "mean": biased}, name)
        return Results(tables)

    def _samples(
        self, session: Session, line: data.darcy.Line, denoisers: dict[str, Any], name: str
    ) -> list[Any]:
        schedule = levels(self.steps)
        shape = (self.batches * self.samples, *line.shape)
        z = schedule[0] * noise.randn(shape, generator=session.generator(35), dtype=torch.float64)
        fresh = line.sample(2000, session.generator(36))
        tables = []
        for method, denoiser in denoisers.items():
            x = samplers.ddpm(denoiser, z, schedule, generator=session.generator(37))
            found = measured(line, x.view(self.batches, self.samples, *line.shape), fresh)
            where = {"equation": name, "method": method}
            seeds = {"seed": range(self.batches)}
            tables += [tidy(v, seeds, measure=f"exact {m}", **where) for m, v in found.items()]
        return tables


def line_network(seed: int, shape: tuple[int, int], width: int) -> nn.Module:
    """Return a denoiser of two fields with first weights of its own."""
    make = partial(networks.MLP, shape, width=width)
    return denoisers.Preconditioned(networks.seeded(make, seed), 1.0)


@dataclass(frozen=True)
class Lines(Experiment):
    """Networks on both equations: plain, with both forms, and plain with corrected samples.

    Parameters
    ----------
    weights : tuple of float
        ``c`` that are tried with both forms; a seed takes the one that the other seeds choose, by
        the distance.
    fields : int
        That are trained on.
    evaluations, batch, width, seeds : int
        As in ``Circle``.
    steps, samples : int
        Of the sampler, and for each network.
    """

    weights: tuple[float, ...] = WEIGHTS
    fields: int = 4000
    evaluations: int = 1000
    batch: int = 64
    width: int = 64
    seeds: int = 5
    steps: int = 50
    samples: int = 128

    sizes = {
        "smoke": {"fields": 100, "evaluations": 6, "batch": 8, "width": 16, "seeds": 2,
                  "steps": 3, "samples": 8}
    }  # fmt: skip
    seconds = 45

    def run(self, session: Session) -> Results:
        """Residual, size, distance and the pressure solved again, by equation, method and seed."""
        tables: list[Any] = []
        arrays = {}
        for k, (name, random) in enumerate(EQUATIONS.items()):
            line = data.darcy.Line(random=random)
            fields = line.sample(self.fields, session.generator(40 + k))
            fresh = line.sample(2000, session.generator(42 + k))
            for form in TRAINED:
                tried: dict[str, list[dict[str, Tensor]]] = {}
                for c in self.weights if form != "none" else (0.0,):
                    goal = objective(form, line.residual, {form: c})
                    ways = self._ways(session, form, self._fit(session, goal, fields, line), line)
                    for way, x in ways.items():
                        tried.setdefault(way, []).append(measured(line, x, fresh))
                        if name == "bilinear":
                            arrays[way] = x[0, :3]
                for way, listed in tried.items():
                    tables += self._tables(name, way, listed)
            floor = metrics.sliced_wasserstein(fields[: self.samples], fresh, projections=64)
            tables.append(tidy([floor], {"seed": [0]}, measure="floor", equation=name))
        return Results(tables, arrays)

    def _fit(self, session: Session, goal: Any, fields: Tensor, line: data.darcy.Line) -> Any:
        return fit_all(
            partial(line_network, shape=line.shape, width=self.width), [(goal, fields)],
            self.evaluations, [100 * session.seed + r for r in range(self.seeds)],
            batch_size=self.batch, lr=3e-3, ema=0.99,
        )  # fmt: skip

    def _tables(self, name: str, way: str, listed: list[dict[str, Tensor]]) -> list[Any]:
        """All weights that were tried, and for each seed the one that the others choose."""
        where = {"equation": name, "method": way}
        tables = []
        pick = best_of_others(torch.stack([one["distance"] for one in listed]).numpy())
        seeds = {"seed": range(self.seeds)}
        for m in listed[0]:
            values = torch.stack([one[m] for one in listed])
            chosen = values[torch.from_numpy(pick), torch.arange(self.seeds)]
            tables.append(tidy(chosen, seeds, measure=m, **where))
            if len(listed) > 1:
                dims = {"c": self.weights} | seeds
                tables.append(tidy(values, dims, measure=f"{m} by weight", **where))
        return tables

    def _ways(
        self, session: Session, form: str, stack: Any, line: data.darcy.Line
    ) -> dict[str, Tensor]:
        """Samples (seeds, n, 2, cells) of a training; of the plain one also the corrected."""
        parts = (self.seeds, self.samples, *line.shape)
        ways: dict[str, Any] = {form: stack}
        if form == "none":
            step = partial(gauss_newton, line.residual)
            ways |= {
                "late": Corrected(stack, step, LATE),
                "always": Corrected(stack, step, math.inf),
            }
        drawn = {way: self._draw(session, network, line) for way, network in ways.items()}
        if form == "none":
            drawn["end"] = line.repair(drawn["none"])
        return {way: x.view(parts) for way, x in drawn.items()}

    def _draw(self, session: Session, network: Any, line: data.darcy.Line) -> Tensor:
        schedule = levels(self.steps)
        shape = (self.seeds * self.samples, *line.shape)
        z = schedule[0] * noise.randn(shape, generator=session.generator(44))
        with torch.no_grad():
            return samplers.ddpm(network, z, schedule, generator=session.generator(45))
