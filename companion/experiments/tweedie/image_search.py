"""The search of settings for the race on images: as many short trainings for each method."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from companion.experiments.images import ImageExperiment, recipe
from companion.experiments.results import Results
from companion.experiments.tweedie.image_network import EM, ImageNetwork
from companion.experiments.tweedie.methods import AMBIENT, CONSISTENCY, SURE

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["CRITERION", "TRIALS", "ImageSearch", "chosen"]

CRITERION = "noisy Frechet distance"
"""What chooses. A sample has been at every level, and noise on it leaves what its distribution
determines, so that this sees faults below the noise of the data without a clean image; the
held-out ambient loss and SURE see the levels at and above it only, and the consistency error is
what one of the methods minimises."""

TRIALS: dict[str, tuple[dict[str, Any], ...]] = {
    AMBIENT: (
        {}, {"lr": 0.5}, {"lr": 2.0}, {"added_mean": -0.4}, {"added_mean": -2.0},
        {"ambient_weight": "epsilon"},
    ),
    SURE: (
        {}, {"lr": 0.5}, {"lr": 2.0}, {"added_mean": -0.4}, {"added_mean": -2.0},
        {"divergence_step": 0.1},
    ),
    CONSISTENCY: (
        {}, {"weight": 0.01}, {"weight": 1.0}, {"ratio": 0.9}, {"begin": 0.5},
        {"begin": 0.5, "teacher": True},
    ),
    EM: (
        {}, {"rounds": 2}, {"rounds": 8}, {"posterior_steps": 4}, {"first": "ambient"}, {"lr": 2.0},
    ),
}  # fmt: skip
"""For each method its defaults, and five settings with one thing changed; ``lr`` is a factor."""


@dataclass(frozen=True)
class ImageSearch(ImageExperiment):
    """Short trainings of each method at some settings, judged as a user with noisy images could.

    Parameters
    ----------
    noise : float
        Standard deviation of the noise in the data.
    trials : int
        The first so many of ``TRIALS``, for each method.
    shorter : int
        Steps of the recipe over those of a trial.
    first_seed : int
        Seed of all networks, beside the master seed: none of the race's.
    samples, solver_steps, tested : as of ``ImageNetwork``
    """

    noise: float = 0.5
    trials: int = 6
    shorter: int = 4
    first_seed: int = 100
    samples: int = 2048
    solver_steps: int = 16
    tested: int = 512

    sizes = {
        "smoke": recipe(
            "digits", "smoke", trials=1, shorter=1, samples=64, solver_steps=3, tested=40
        ),
        "long": recipe("mnist", "long"),
        "gpu": recipe("mnist", "gpu"),
    }

    def tried(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Go through the trials: method, name, settings."""
        for number in range(self.trials):
            for method, trials in TRIALS.items():
                settings = trials[number]
                named = ", ".join(f"{k} {v}" for k, v in settings.items())
                yield method, named or "as it is", settings

    def parts(self, session: Session) -> list[ImageNetwork]:
        """One network for each trial, the defaults of all methods first."""
        return [
            self.with_its(
                ImageNetwork,
                method=method, network_seed=session.seed + self.first_seed, looked=0,
                steps=max(1, self.steps // self.shorter), **in_full(settings, self.lr),
            )
            for method, _, settings in self.tried()
        ]  # fmt: skip

    def run(self, session: Session) -> Results:
        """All measures by method and trial, and in the facts the best settings of each method."""
        tables = []
        best: dict[str, tuple[float, str, dict[str, Any]]] = {}
        for (method, name, settings), part in zip(self.tried(), self.parts(session)):
            found = session.run(part)
            tables.append(found.table.assign(trial=name))
            value = found.value(measure=CRITERION, method=method)
            if value < (
                best[method][0] if method in best else math.inf
            ):  # NaN, a failed training, is not less
                best[method] = (value, name, settings)
        settings = {method: best[method][2] if method in best else {} for method in TRIALS}
        names = {method: best[method][1] if method in best else "none" for method in TRIALS}
        return Results(tables, {}, {"chosen": settings, "names": names, **found.facts})


def in_full(settings: dict[str, Any], lr: float) -> dict[str, Any]:
    """Settings of a trial with the learning rate in place of its factor."""
    return {**settings, **({"lr": settings["lr"] * lr} if "lr" in settings else {})}


def chosen(session: Session, method: str, lr: float) -> dict[str, Any]:
    """Return the settings that the search has chosen for a method; none for one not searched."""
    best = session.latest(ImageSearch).facts["chosen"]
    return in_full(best.get(method, {}), lr)
