"""A search of the strength of extra noise on images, as wide for the plain network; recorded."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from companion.experiments.extra_noise.noise_trial import NoiseTrial
from companion.experiments.images import ImageExperiment, recipe
from companion.experiments.results import Results

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["NoiseSearch"]


@dataclass(frozen=True)
class NoiseSearch(ImageExperiment):
    """As many trials for the plain network as for each kind of extra noise.

    All go on from one trained plain network, for the same number of steps, as in ``ImageTrial``:
    what input perturbation asks for is the same denoiser at a level a little higher, so that a
    short training gets there. A trial is measured on a long chain, by the Fréchet distance to the
    first half of the test images.

    Parameters
    ----------
    continued : int
        Steps of each trial.
    plain_lrs : tuple of float
        Learning rates of the plain network: so many trials.
    lrs, gammas, stds : tuples of float
        Learning rates, each with each gamma of B and each s of C: as many trials for both.
    chain, sigma_max, sigma_min, samples : as of ``NoiseTrial``
    """

    continued: int = 1000
    plain_lrs: tuple[float, ...] = (1e-4, 3e-4, 6e-4, 1e-3, 2e-3, 4e-3)
    lrs: tuple[float, ...] = (3e-4, 1e-3)
    gammas: tuple[float, ...] = (0.03, 0.1, 0.3)
    stds: tuple[float, ...] = (0.02, 0.05, 0.1)
    chain: int = 100
    sigma_max: float = 80.0
    sigma_min: float = 0.01
    samples: int = 384

    sizes = {
        "smoke": recipe(
            "digits", "smoke", continued=2, plain_lrs=(3e-4, 1e-3), gammas=(0.1,), stds=(0.05,),
            chain=3, samples=64,
        ),
        "long": recipe("mnist", "long", samples=768),
    }  # fmt: skip

    def trials(self) -> dict[str, list[dict[str, Any]]]:
        """Return the settings of every trial, by kind: equally many."""
        plain = [{"strength": 0.0, "tune_lr": lr} for lr in self.plain_lrs]
        noisy = {
            kind: [
                {"strength": s, "tune_lr": lr} for s, lr in itertools.product(strengths, self.lrs)
            ]
            for kind, strengths in (("B eps", self.gammas), ("C", self.stds))
        }
        return {"none": plain, **noisy}

    def parts(self, session: Session) -> list[NoiseTrial]:
        """Return every trial."""
        return [
            self.with_its(NoiseTrial, kind=kind, trial=i, **trial)
            for kind, listed in self.trials().items()
            for i, trial in enumerate(listed)
        ]

    def run(self, session: Session) -> Results:
        """Distance of each trial, by kind (method); the settings are in the facts."""
        parts = [session.run(part) for part in self.parts(session)]
        return Results([part.table for part in parts], {}, {"trials": self.trials()})
