"""The trial on images, with U-Nets; recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from companion.experiments.extra_noise.noise_search import NoiseSearch
from companion.experiments.extra_noise.trial_network import SMOKE, TrialNetwork, TrialSettings
from companion.experiments.image_search import searched
from companion.experiments.images import recipe
from companion.experiments.results import Results

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["ImageTrial"]


@dataclass(frozen=True)
class ImageTrial(TrialSettings):
    """The trial on images: quality on short and long chains, exposure bias, recall, errors.

    Where ``NoiseSearch`` has a size for the profile and the arms go on from the shared plain
    network, the strength of each kind and the learning rate of each arm are those that it chose,
    and distances are to the half of the test images that it did not see.

    Parameters
    ----------
    seeds : int
    Others as of ``TrialSettings``.
    """

    seeds: int = 3

    sizes = {
        "smoke": {**SMOKE, "seeds": 2},
        "long": recipe(
            "mnist", "long", arms=(("none", 0.0), ("B eps", 0.1), ("C", 0.05)), continued=1000,
            chains=(20, 100), samples=1536, seeds=5,
        ),
        "gpu": [
            recipe(
                "mnist", "gpu",
                arms=(("none", 0.0), ("B eps", 0.1), ("C", 0.05), ("B x_0", 0.1)),
                free=(("B eps", 0.1), ("B x_0", 0.1)),
            ),
            recipe("cifar10", "gpu", arms=(("none", 0.0),), chains=(20, 100)),
        ],
    }  # fmt: skip

    def parts(self, session: Session) -> list[TrialNetwork]:
        """Return every seed."""
        found = searched(session, NoiseSearch, self) if self.continued else {}
        differ: dict[str, Any] = {"halved": bool(found)}
        if found:
            kinds = [kind for kind, _ in self.arms]
            arms = [found[kind] for kind in kinds]
            differ["arms"] = tuple((k, arm["strength"]) for k, arm in zip(kinds, arms))
            differ["arm_lrs"] = tuple(arm["tune_lr"] for arm in arms)
            differ["free"] = tuple(arm for arm in differ["arms"] if arm[0].startswith("B"))
        return [self.with_its(TrialNetwork, number=i, **differ) for i in range(self.seeds)]

    def run(self, session: Session) -> Results:
        """Every measure by condition, steps or level, and seed; some samples of the first seed."""
        parts = self.parts(session)
        found = [session.run(part) for part in parts]
        told = {"arms": parts[0].arms, "arm_lrs": parts[0].arm_lrs, "searched": parts[0].halved}
        return Results([part.table for part in found], found[0].arrays, {**found[0].facts, **told})
