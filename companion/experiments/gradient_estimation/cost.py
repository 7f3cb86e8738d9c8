"""What a step of gradient estimation costs beyond the network."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from companion import denoisers, networks, noise, samplers
from companion.experiments.experiment import Experiment
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["StepCost"]


@dataclass(frozen=True)
class StepCost(Experiment):
    """Time of whole runs against as many bare calls of the same network, in turns.

    Parameters
    ----------
    points, steps : int
    rounds : int
    """

    points: int = 2048
    steps: int = 20
    rounds: int = 25

    sizes = {"smoke": {"rounds": 3}}
    seconds = 3

    def run(self, session: Session) -> Results:
        """Time of a run over that of bare calls, by round."""
        network = denoisers.Preconditioned(networks.MLP(2), 1.0).eval()
        x = 40 * torch.randn(self.points, 2, generator=session.generator(31))
        levels = noise.log_linear(self.steps, 40.0, 0.02)

        def seconds(function: Callable[..., Any]) -> float:
            began = time.perf_counter()
            function(network, x, levels)
            return time.perf_counter() - began

        ratios = []
        for _ in range(self.rounds):
            plain = seconds(bare_calls)
            ratios.append(seconds(samplers.gradient_estimation) / plain)
        return Results(tidy(ratios, {"round": range(self.rounds)}, measure="time ratio"))


@torch.no_grad()
def bare_calls(denoiser: Any, x: Tensor, sigmas: Tensor) -> None:
    """Make the network calls of a run and nothing else."""
    for s in sigmas.tolist()[:-1]:
        denoiser(x, s)
