"""The race on exact data: every method at equal evaluations, over noises and sizes; samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from companion import metrics, noise, samplers
from companion.checkpoint import from_arrays, to_arrays
from companion.experiments.results import Results, tidy
from companion.experiments.tweedie.exact import mode_widths
from companion.experiments.tweedie.methods import (
    AMBIENT,
    CLEAN,
    CONSISTENCY,
    DIRECT,
    METHODS,
    NAIVE,
)
from companion.experiments.tweedie.points import DISTANCE, MODES, SMOKE, PointExperiment
from companion.experiments.tweedie.variants import AmbientNetworks, Gradients, chosen

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["RACERS", "SWEPT", "Race", "Samples", "Sweep"]

RACERS = (*METHODS, DIRECT)
SWEPT = (NAIVE, AMBIENT, CONSISTENCY)


@dataclass(frozen=True)
class Race(PointExperiment):
    """Error of every method against the exact denoiser, above and below the noise of the data.

    Parameters
    ----------
    noise, points, seeds, steps, batch, levels, tested : as of ``PointExperiment``
    weight : float, optional
        Of consistency (default: the one that ``Gradients`` chooses, without clean data).
    """

    weight: float | None = None

    needs = (AmbientNetworks, Gradients)
    seconds = 30

    def run(self, session: Session) -> Results:
        """Errors by method and level; the networks' weights; network evaluations in training."""
        weight = chosen(session, self) if self.weight is None else self.weight
        clean = self.clean_sets(session)
        seen, shared = self.noisy(session, clean), self.training()
        tables: list = []
        arrays: dict[str, Any] = {}
        for method in RACERS:
            sets = clean if method == CLEAN else seen
            stack = shared.fit(method, self.noise, sets, session.seed, weight)
            errors = self.errors(session, stack)
            tables.append(tidy(errors, self.axes(), measure="error", method=method))
            arrays |= to_arrays({method: stack})
        return Results(tables, arrays, {"weight": weight, "evaluations": self.steps * self.batch})


@dataclass(frozen=True)
class Sweep(PointExperiment):
    """The race at other noises and with fewer and more data, for half the training steps.

    Parameters
    ----------
    noise, points, seeds, steps, batch, levels, tested : as of ``PointExperiment``
        ``noise`` with ``points`` is where both sweeps cross.
    shares : tuple of float
        Other noises of the data, in units of the distance between modes.
    sizes_of_data : tuple of int
        Other numbers of points.
    weight : float, optional
        Of consistency (default: the one that ``Gradients`` chooses).
    """

    shares: tuple[float, ...] = (0.1, 0.25, 0.5)
    sizes_of_data: tuple[int, ...] = (500, 50_000)
    weight: float | None = None

    sizes = {"smoke": SMOKE | {"sizes_of_data": (100, 300)}}
    needs = (AmbientNetworks, Gradients)
    seconds = 30

    def run(self, session: Session) -> Results:
        """Errors by noise of the data, number of points, method and level."""
        weight = chosen(session, self) if self.weight is None else self.weight
        counts = sorted({self.points, *self.sizes_of_data})
        tables = self._tables(session, self.noise, counts, weight)
        for share in self.shares:
            tables += self._tables(session, share * DISTANCE, [self.points], weight)
        return Results(tables, facts={"weight": weight})

    def _tables(self, session: Session, s_n: float, counts: list[int], weight: float) -> list:
        """Errors at one noise, all numbers of points trained side by side."""
        clean = [x for n in counts for x in self.clean_sets(session, n)]
        seen, shared, tables = self.noisy(session, clean, s_n), self.training(0.5), []
        for method in SWEPT:
            stack = shared.fit(method, s_n, seen, session.seed, weight)
            errors = self.errors(session, stack, s_n, len(seen))
            for n, part in zip(counts, errors.split(self.seeds)):
                where = {"method": method, "noise": s_n, "points": n}
                tables.append(tidy(part, self.axes(), measure="error", **where))
        return tables


@dataclass(frozen=True)
class Samples(PointExperiment):
    """Samples of the race's networks: the width of the modes, and the distance to real data.

    Parameters
    ----------
    noise, points, seeds, steps, batch, levels, tested : as of ``PointExperiment``
    samples : int
        Of each seed.
    solver_steps : int
        Of Heun's method from the level 8 down to no noise.
    stop_steps : int
        The same down to the noise of the data.
    """

    samples: int = 500
    solver_steps: int = 24
    stop_steps: int = 18

    sizes = {"smoke": SMOKE | {"samples": 60, "solver_steps": 8, "stop_steps": 8}}
    needs = (Race,)
    seconds = 15

    def run(self, session: Session) -> Results:
        """Widths and distances by method and seed; samples of the first seed.

        The width with new noise is that of samples plus noise of the data's size, over that of
        noisy data.
        """
        race, shared = session.run(self.like(Race)), self.training()
        nets = {
            method: from_arrays(race.arrays, shared.denoiser(0, method), method)
            for method in RACERS
        }
        number = self.seeds * self.samples
        start = 8 * torch.randn(number, 2, generator=session.generator(500))
        down = noise.log_linear(self.solver_steps, 8.0, 0.01)
        made = {name: samplers.heun(net, start, down) for name, net in nets.items()}
        to_data = noise.log_linear(self.stop_steps, 8.0, self.noise, final_zero=False)
        stopped = samplers.heun(nets[AMBIENT], start, to_data)
        made["exact denoiser, same solver"] = samplers.heun(MODES.denoiser, start, down)
        made["stop at s_n, return x"] = stopped
        with torch.no_grad():
            made["stop at s_n, return D"] = nets[AMBIENT](stopped, self.noise)
        real = [MODES.sample(self.samples, session.generator(510 + r)) for r in range(self.seeds)]
        made["real data"] = torch.cat(real)
        truth = MODES.sample(4000, session.generator(501))
        fresh = self.noise * torch.randn(number, 2, generator=session.generator(502))
        z = torch.randn(4000, 2, generator=session.generator(503))
        noisy_width = mode_widths(truth + self.noise * z, 1)
        tables = []
        for name, x in made.items():
            measured = {
                "width": mode_widths(x, self.seeds),
                "distance": self._distances(x, truth),
                "width with new noise": mode_widths(x + fresh, self.seeds) / noisy_width,
            }
            for measure, values in measured.items():
                axis = {"seed": range(self.seeds)}
                tables.append(tidy(values, axis, measure=measure, method=name))
        first = {name: x[: self.samples].float() for name, x in made.items()}
        return Results(tables, first)

    def _distances(self, x: Tensor, truth: Tensor) -> list[float]:
        """Sliced Wasserstein distance of each seed's samples to real data."""
        parts = x.chunk(self.seeds)
        return [metrics.sliced_wasserstein(part, truth, projections=32) for part in parts]
