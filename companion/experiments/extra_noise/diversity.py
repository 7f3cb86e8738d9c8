"""Diversity of samples, for more and for less fresh noise in the sampler (D), and without A."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from companion import denoisers, noise, samplers
from companion.experiments.experiment import Experiment
from companion.experiments.extra_noise.arms import NONE, ONE_LEVEL, SMALL
from companion.experiments.extra_noise.digits import (
    MOST,
    DigitNetworks,
    Quality,
    digit_networks,
    trained_on,
)
from companion.experiments.extra_noise.ring import (
    RingNetworks,
    balance,
    mode_width,
    ring_networks,
)
from companion.experiments.extra_noise.sampling import Chains, chain
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["NoiseScale", "OneLevelWalk"]


@dataclass(frozen=True)
class NoiseScale(Experiment):
    """Diversity of the plain network's samples against the fresh noise of DDPM; also of DDIM.

    Parameters
    ----------
    scales : tuple of float
        Factors of the fresh noise: 0 is the mean alone, 1 is DDPM. Both must be among them.
    steps : int
        Of the chain.
    samples : int
        Digits of each run; of points, twice as many.
    classifier_steps : int
        Of the classifier whose features measure samples.
    """

    scales: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)
    steps: int = 100
    samples: int = 128
    classifier_steps: int = 200

    sizes = {"smoke": {"steps": 10, "samples": 16, "classifier_steps": 20}}
    needs = (RingNetworks, DigitNetworks)
    seconds = 3

    def run(self, session: Session) -> Results:
        """Four measures by sampler, noise scale and seed; points of the first run as arrays."""
        ring = ring_networks(session).pick((NONE, "clean"))
        digits = digit_networks(session, trained_on((NONE,), MOST)).pick((NONE, str(MOST)))
        quality = Quality(self.classifier_steps)
        measures: dict[str, tuple[Any, tuple[int, ...], dict[str, Any]]] = {
            "ring": (ring, (2,), {"balance": balance, "width": mode_width}),
            "digits": (digits, (1, 8, 8), {"recall": quality.recall, "Vendi": quality.vendi}),
        }
        chains, tables, arrays = Chains(session, len(ring)), [], {}
        for name, (stack, shape, measure) in measures.items():
            count = 2 * self.samples if name == "ring" else self.samples
            for scale in (*self.scales, None):
                x = self._sample(chains, stack, chains.start(count, shape), scale)
                where = {"data": name, "sampler": "DDIM" if scale is None else "DDPM"}
                for what, function in measure.items():
                    values = chains.each(function, x)
                    dims = {"noise_scale": [scale], "seed": range(chains.runs)}
                    tables.append(tidy(values, dims, measure=what, **where))
                if name == "ring":
                    arrays["DDIM" if scale is None else f"{scale:g}"] = x[:count]
        return Results(tables, arrays)

    def _sample(self, chains: Chains, stack: Any, start: Tensor, scale: float | None) -> Tensor:
        if scale is None:
            return samplers.ddim(stack, start, chain(self.steps))
        return chains.ddpm(stack, start, self.steps, noise_scale=scale)


@dataclass(frozen=True)
class OneLevelWalk(Experiment):
    """Langevin's walk with a network of one small level: balance of the modes of the ring.

    Parameters
    ----------
    steps : int
        Network evaluations.
    samples : int
        Points of each run.
    """

    steps: int = 100
    samples: int = 256

    sizes = {"smoke": {"steps": 10, "samples": 32}}
    needs = (RingNetworks,)
    seconds = 1

    def run(self, session: Session) -> Results:
        """Balance of the modes by seed."""
        networks = ring_networks(session, (ONE_LEVEL,))
        stack, chains = networks.pick((ONE_LEVEL, "clean")), Chains(session, networks.runs)
        x, step = chains.start(self.samples, (2,)), 0.5 * SMALL**2
        walk = chains.generators("walk")
        for _ in range(self.steps - 1):
            drift = step * denoisers.score(stack, x, SMALL)
            x = x + drift + math.sqrt(2 * step) * noise.randn_like(x, walk)
        with torch.no_grad():
            values = chains.each(balance, stack(x, SMALL))
        return Results(tidy(values[0], {"seed": range(chains.runs)}, measure="balance"))
