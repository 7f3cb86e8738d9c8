"""Where samplers take a denoiser, and how wrong it is there and where it was trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from companion import noise, samplers, training
from companion.experiments.experiment import Experiment
from companion.experiments.noise_classifier.continuations import (
    BATCH,
    BEFORE,
    CONTRASTIVE,
    continue_training,
    with_controls,
)
from companion.experiments.noise_classifier.evaluated import evaluated
from companion.experiments.noise_classifier.picard import FORMS, SIGMA_MAX, SIGMA_MIN
from companion.experiments.noise_classifier.points import (
    DENOISING,
    METHODS,
    PointNetworks,
    Points,
    contrastive,
    distributions,
    off_distribution,
    on_distribution,
    point_networks,
    rms,
    training_sets,
)
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = [
    "OFF_REGION",
    "TRAINED_REGION",
    "LaterErrors",
    "RegionErrors",
    "Visits",
    "regions",
    "visited",
]

TRAINED_REGION, OFF_REGION = "as trained", "more noise than admitted"


def visited(session: Session, mixture: Any, sigmas: Tensor, form: str, n: int) -> list[Points]:
    """What each Picard iteration of DDIM evaluates, run with the exact denoiser."""
    x = SIGMA_MAX * torch.randn(n, 2, generator=session.generator(80))
    states = evaluated(mixture.denoiser, x, sigmas, form, session.generator(81))
    level = sigmas[:-1].repeat_interleave(n)
    return [(s.reshape(-1, 2), level) for s in states]


def regions(session: Session, mixture: Any, steps: int, n: int, starts: int) -> dict[str, Points]:
    """Return the points at which networks are compared, the same for all of them.

    Parameters
    ----------
    steps, starts : int
        Levels of Picard iteration, and how many trajectories it has.
    n : int
        Points on the training distribution, and as many with more noise than they admit.
    """
    sigmas = noise.log_linear(steps, SIGMA_MAX, SIGMA_MIN)
    plain = visited(session, mixture, sigmas, "plain", starts)
    return {
        TRAINED_REGION: on_distribution(session, mixture, n, 82),
        OFF_REGION: off_distribution(session, mixture, n, 86),
        "Picard, iteration 1": plain[0],
        "Picard, iteration 2": plain[1],
        "semilinear, iteration 2": visited(session, mixture, sigmas, "semilinear", starts)[1],
    }


@dataclass(frozen=True)
class Visits(Experiment):
    """Where samplers evaluate networks on the spirals: the share off the distribution, the error.

    A state is off the distribution if -log p_sigma is larger there than for 999 of 1,000 noised
    data points. A seed is a network with starting noise of its own.

    Parameters
    ----------
    steps : int
        Of each sampler.
    starts : int
        Trajectories of each seed.
    threshold : int
        Noised data points at each level that the threshold is found from.
    seeds : int
        Networks, the first of ``PointNetworks``.
    """

    steps: int = 50
    starts: int = 32
    threshold: int = 2000
    seeds: int = 4

    sizes = {"smoke": {"steps": 10, "starts": 8, "threshold": 500, "seeds": 2}}
    needs = (PointNetworks,)
    seconds = 10

    def run(self, session: Session) -> Results:
        """Shares of states and of trajectories that are off, and the error at all states."""
        nets, _ = point_networks(session, (BEFORE,))
        mixture = distributions(session)["spirals"]
        sigmas = noise.log_linear(self.steps, SIGMA_MAX, SIGMA_MIN)
        bounds = []
        for level in sigmas[:-1].tolist():
            x = mixture.sample(self.threshold, session.generator(70))
            x = noise.corrupt(x, level, generator=session.generator(71))
            bounds.append((-mixture.log_prob(x, level)).quantile(0.999))
        bound = torch.stack(bounds)
        starts = SIGMA_MAX * torch.randn(
            self.seeds, self.starts, 2, generator=session.generator(41)
        )
        tables = []
        for seed, start in enumerate(starts):
            net, sources = nets["spirals"][BEFORE][seed], _Generators(session, 10 * seed)
            with torch.no_grad():
                for (kind, by, iteration), x in self._states(
                    net, mixture, sigmas, start, sources
                ).items():
                    values = _measures(net, mixture, x, sigmas, bound)
                    where = {"kind": kind, "by": by, "iteration": iteration, "seed": seed}
                    tables.append(tidy(list(values.values()), {"measure": values}, **where))
        return Results(tables)

    def _states(
        self, net: Any, mixture: Any, sigmas: Tensor, start: Tensor, sources: _Generators
    ) -> dict[tuple[str, str, int], Tensor]:
        """States (levels, starts, 2) that are evaluated: (kind, by, iteration) -> states."""
        states = {}
        for by, (sampler, options) in sequential(sources).items():
            steps: list[samplers.Step] = []
            sampler(net, start, sigmas, callback=steps.append, **options)
            states["sequential", by, 0] = torch.stack([step.x for step in steps])
        x = mixture.sample(self.starts, sources.generator(273))
        source = sources.generator(274)
        noised = [noise.corrupt(x, float(s), generator=source) for s in sigmas[:-1]]
        states["training", "noised data, as in training", 0] = torch.stack(noised)
        for form in FORMS:
            asked = evaluated(net, start, sigmas, form, sources.generator(270))[:-1]
            for k in (1, 2, 3, 5, 8, 12):
                if k <= len(asked):
                    states["Picard", form, k] = asked[k - 1]
        return states


@dataclass(frozen=True)
class _Generators:
    """Generators of a session, each number moved on: a seed has its own."""

    session: Session
    offset: int

    def generator(self, number: int) -> torch.Generator:
        return self.session.generator(number + self.offset)


def _measures(
    net: Any, mixture: Any, states: Tensor, sigmas: Tensor, bound: Tensor
) -> dict[str, Tensor]:
    """Shares off the distribution, of states and of trajectories, and the error of the noise."""
    levels, starts = states.shape[:2]
    level, x = sigmas[:levels].repeat_interleave(starts), states.reshape(-1, 2)
    beyond = -mixture.log_prob(x, level) > bound[:levels].repeat_interleave(starts)
    wrong = (net(x, level) - mixture.denoiser(x, level)) / level[:, None]
    return {
        "share off": beyond.double().mean(),
        "trajectories off": beyond.view(levels, starts).any(0).double().mean(),
        "error": wrong.square().sum(1).mean().sqrt(),
    }


def sequential(sources: _Generators) -> dict[str, tuple[Callable[..., Tensor], dict[str, Any]]]:
    """Return the sequential samplers, each with its options."""
    return {
        "DDIM": (samplers.ddim, {}),
        "DDPM": (samplers.ddpm, {"generator": sources.generator(272)}),
        "Heun (first stages)": (samplers.heun, {}),
        "gradient estimation": (samplers.gradient_estimation, {}),
    }


@dataclass(frozen=True)
class RegionErrors(Experiment):
    """Errors of the continued networks where they were trained and where samplers take them.

    Parameters
    ----------
    steps : int
        Levels of Picard iteration.
    points, starts : int
        Points of the regions without a sampler; trajectories of those with one.
    """

    steps: int = 50
    points: int = 1000
    starts: int = 16

    sizes = {"smoke": {"steps": 10, "points": 100, "starts": 4}}
    needs = (PointNetworks,)
    seconds = 5

    def run(self, session: Session) -> Results:
        """Root mean square error of the noise estimate, by data, region, method and seed."""
        nets, _ = point_networks(session)
        tables = []
        for name, mixture in distributions(session).items():
            places = regions(session, mixture, self.steps, self.points, self.starts)
            errors = torch.stack(
                [
                    torch.stack([rms(nets[name][m], mixture, p) for m in METHODS])
                    for p in places.values()
                ]
            )
            dims: dict = {"region": list(places), "method": METHODS}
            dims["seed"] = range(errors.shape[2])
            tables.append(tidy(errors, dims, measure="error", data=name))
        return Results(tables)


@dataclass(frozen=True)
class LaterErrors(Experiment):
    """The same comparison on the spirals, after the networks were trained for much longer.

    Parameters
    ----------
    more : int
        Further steps of training, before the continuations.
    tune_steps : int
        Of the continuations with the loss.
    steps, points, starts : as of ``RegionErrors``
    """

    more: int = 2000
    tune_steps: int = 120
    steps: int = 50
    points: int = 1000
    starts: int = 16

    sizes = {
        "smoke": {"more": 10, "tune_steps": 2, "steps": 10, "points": 100, "starts": 4},
    }
    needs = (PointNetworks,)
    seconds = 15

    def run(self, session: Session) -> Results:
        """Root mean square error of the noise estimate, by region, method and seed."""
        nets, results = point_networks(session, (BEFORE,))
        before, chosen = nets["spirals"][BEFORE], results.facts["chosen"]
        runs = len(before)
        seeds = [1000 * session.seed + r for r in range(runs)]
        mixture, samples = distributions(session)["spirals"], training_sets(session)["spirals"]
        longer = training.fit(
            [before[r] for r in range(runs)], DENOISING, samples, steps=self.more,
            batch_size=BATCH, lr=2e-3, seed=seeds, device="cpu",
        ).denoiser  # fmt: skip
        stacks = {BEFORE: longer}
        loss, weight = contrastive(chosen[CONTRASTIVE]["reach"]), chosen[CONTRASTIVE]["weight"]
        for method, goal in with_controls(DENOISING, loss, self.tune_steps, weight).items():
            stacks |= continue_training(
                longer, {method: goal}, [samples] * runs, [s + 1300 for s in seeds],
                lr=chosen[method]["rate"] / 2,
            )  # fmt: skip
        places = regions(session, mixture, self.steps, self.points, self.starts)
        errors = torch.stack(
            [
                torch.stack([rms(s, mixture, where) for s in stacks.values()])
                for where in places.values()
            ]
        )
        dims: dict = {"region": list(places), "method": list(stacks), "seed": range(runs)}
        return Results(tidy(errors, dims, measure="error", data="spirals"))
