"""One trial of the search of extra noise on images, a part of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from companion import noise
from companion.experiments.extra_noise.arms import Arm
from companion.experiments.extra_noise.trial_network import ancestral
from companion.experiments.image_search import CHOSEN_BY, SEARCHED, halves, shared_setting
from companion.experiments.images import ImageExperiment, recipe
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["NoiseTrial"]


@dataclass(frozen=True)
class NoiseTrial(ImageExperiment):
    """The plain network, continued with one kind and strength of extra noise, on a long chain.

    Parameters
    ----------
    kind, strength : str, float
        As of ``Arm``.
    trial : int
        Its number.
    tune_lr, continued : float, int
        Learning rate and steps of what is added to the plain training.
    chain : int
        Steps of DDPM.
    sigma_max, sigma_min : float
        Levels of the chain, pixels in [-1, 1].
    samples : int
    """

    kind: str = "none"
    strength: float = 0.0
    trial: int = 0
    tune_lr: float = 1e-3
    continued: int = 1000
    chain: int = 100
    sigma_max: float = 80.0
    sigma_min: float = 0.01
    samples: int = 384

    part = True
    sizes = {"smoke": recipe("digits", "smoke", continued=2, chain=3, samples=64)}

    def run(self, session: Session) -> Results:
        """Distance to the first half of the test images."""
        setting, seed = shared_setting(self), session.seed + SEARCHED
        objective = Arm(self.kind, self.strength).objective(
            noise.LogNormal(), setting.data_std, "edm"
        )
        start = setting.fit(setting.plain(), seed)
        net = setting.fit(
            objective, seed + 1000, start=start, steps=self.continued, lr=self.tune_lr
        )
        sigmas = noise.cosine(self.chain, self.sigma_max, self.sigma_min)
        distance = halves(setting)[0](ancestral(setting, net, self.samples, sigmas, seed))
        where = {"method": self.kind, "trial": self.trial}
        return Results(tidy([distance], {"measure": [CHOSEN_BY]}, **where))
