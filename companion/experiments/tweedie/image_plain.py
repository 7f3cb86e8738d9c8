"""Training on clean images, and naive training, with searched settings; recorded.

``ImageSearch`` tried settings of the methods for noisy images only. These two are searched here in
the same way, with as many trials of the same length, chosen by the same distance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from companion.experiments.images import recipe
from companion.experiments.results import Results
from companion.experiments.tweedie.image_network import ImageNetwork
from companion.experiments.tweedie.image_search import CRITERION, ImageSearch, in_full
from companion.experiments.tweedie.images import ImageRace
from companion.experiments.tweedie.methods import CLEAN, NAIVE

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["PLAIN_TRIALS", "ImagePlain", "ImagePlainSearch"]

_TRIALS: tuple[dict[str, Any], ...] = (
    {}, {"lr": 0.5}, {"lr": 2.0}, {"added_mean": -0.4}, {"added_mean": -2.0},
    {"lr": 2.0, "added_mean": -0.4},
)  # fmt: skip
PLAIN_TRIALS = {CLEAN: _TRIALS, NAIVE: _TRIALS}
"""As many as the other methods have. A loss without a setting of its own has both of the others
changed in its last trial."""


@dataclass(frozen=True)
class ImagePlainSearch(ImageSearch):
    """Short trainings on clean images and of naive training; parameters as of ``ImageSearch``."""

    def tried(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Go through the trials: method, name, settings."""
        for number in range(self.trials):
            for method, trials in PLAIN_TRIALS.items():
                settings = trials[number]
                named = ", ".join(f"{k} {v}" for k, v in settings.items())
                yield method, named or "as it is", settings

    def run(self, session: Session) -> Results:
        """All measures by method and trial, and in the facts the best settings of each method."""
        tables, facts = [], {}
        best = {method: (math.inf, "none", PLAIN_TRIALS[method][0]) for method in PLAIN_TRIALS}
        for (method, name, settings), part in zip(self.tried(), self.parts(session)):
            found = session.run(part)
            tables.append(found.table.assign(trial=name))
            facts = found.facts
            value = found.value(measure=CRITERION, method=method)
            if value < best[method][0]:  # NaN, a failed training, is not less
                best[method] = (value, name, settings)
        names = {method: name for method, (_, name, _) in best.items()}
        chosen = {method: settings for method, (*_, settings) in best.items()}
        return Results(tables, {}, {**facts, "chosen": chosen, "names": names})


@dataclass(frozen=True)
class ImagePlain(ImageRace):
    """The two in the race, where the search chose other settings than the defaults.

    A method that keeps its defaults is not trained again: ``ImageRace`` has its networks.

    Parameters
    ----------
    methods : tuple of str
        Of ``PLAIN_TRIALS``.
    Others as of ``ImageRace``.
    """

    methods: tuple[str, ...] = (CLEAN, NAIVE)

    needs = (ImageSearch, ImagePlainSearch)  # type: ignore[assignment]
    sizes = {
        "smoke": ImageRace.sizes["smoke"],
        "long": ImageRace.sizes["long"],
        "gpu": recipe("mnist", "gpu"),
    }  # fmt: skip

    def parts(self, session: Session) -> list[ImageNetwork]:
        """One network for each seed, noise and method, seed by seed."""
        found = session.latest(ImagePlainSearch).facts["chosen"]
        settings = {m: in_full(found[m], self.lr) for m in self.methods if found[m]}
        return [
            self.with_its(ImageNetwork, method=method, noise=s_n, network_seed=seed, **changed)
            for seed in range(session.seed, session.seed + self.seeds)
            for s_n in self.noises
            for method, changed in settings.items()
        ]

    def run(self, session: Session) -> Results:
        """All measures by method, noise and seed; NaN if a training diverged."""
        names = session.latest(ImagePlainSearch).facts["names"]
        if not self.parts(session):
            return Results(pd.DataFrame({"method": [], "value": []}), {}, {"chosen": names})
        found = super().run(session)
        return replace(found, facts={**found.facts, "chosen": names})
