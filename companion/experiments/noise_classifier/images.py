"""U-Nets on images, continued with and without the contrastive loss; recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from companion.experiments.image_search import searched
from companion.experiments.images import recipe
from companion.experiments.noise_classifier.continuations import (
    BEFORE,
    CONTRASTIVE,
    SAME_COST,
    SAME_STEPS,
    cost_factor,
)
from companion.experiments.noise_classifier.image_network import (
    SEQUENTIAL,
    SMOKE,
    ContrastNetwork,
    ContrastSettings,
)
from companion.experiments.noise_classifier.image_search import ImageSearch
from companion.experiments.noise_classifier.image_trial import contrastive_loss
from companion.experiments.results import Results

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["IMAGE_METHODS", "SEQUENTIAL", "ImageContrast"]

IMAGE_METHODS = (BEFORE, SAME_STEPS, SAME_COST, CONTRASTIVE)


@dataclass(frozen=True)
class ImageContrast(ContrastSettings):
    """The contrastive loss against both controls with U-Nets: samples, and the test of noise.

    Where ``ImageSearch`` has a size for the profile, the loss and the control of equal evaluations
    have the settings that it chose, each for itself; the control of equal steps has the steps and
    the learning rate of the loss. Distances are then to the half of the test images that the search
    did not see.

    Parameters
    ----------
    seeds : int
    Others as of ``ContrastSettings``.
    """

    seeds: int = 3

    sizes = {
        "smoke": {**SMOKE, "seeds": 2},
        "long": recipe(
            "mnist", "long", tune_steps=120, contrasted=2, classified=64, samples=2048,
            parallel=768, budgets=(20,), forms=("semilinear",), seeds=5,
        ),
        "gpu": [
            recipe("mnist", "gpu"),
            recipe(
                "cifar10", "gpu", tune_steps=50, contrasted=4, classified=64,
                classify_at=(0.004, 0.008), samples=512, samplers=("DDIM", "gradient estimation"),
                budgets=(20,), forms=("semilinear",),
            ),
        ],
    }  # fmt: skip

    def parts(self, session: Session) -> list[ContrastNetwork]:
        """Return every network."""
        chosen = self._chosen(session)
        differ: dict[str, Any] = {**chosen[CONTRASTIVE], "halved": bool(self._found(session))}
        differ |= {name.replace("tune", "control"): v for name, v in chosen[SAME_COST].items()}
        return [self.with_its(ContrastNetwork, number=i, **differ) for i in range(self.seeds)]

    def run(self, session: Session) -> Results:
        """Distances, times of Picard iteration, and the test of noise, by method and seed."""
        parts = [session.run(part) for part in self.parts(session)]
        facts = {
            **parts[0].facts, "searched": bool(self._found(session)),
            "chosen": self._chosen(session),
        }  # fmt: skip
        return Results([part.table for part in parts], parts[0].arrays, facts)

    def _found(self, session: Session) -> dict[str, dict[str, Any]]:
        return searched(session, ImageSearch, self)

    def _chosen(self, session: Session) -> dict[str, dict[str, Any]]:
        """Settings of the loss and of the control of equal evaluations."""
        names = ("tune_steps", "tune_lr", "weight", "points", "contrast")
        found = self._found(session)
        tuned = {**{name: getattr(self, name) for name in names}, **found.get(CONTRASTIVE, {})}
        tuned["contrast"] = tuple(tuned["contrast"])
        loss = contrastive_loss(self, 1.0, tuned["contrast"], tuned["points"])
        longer = round(tuned["tune_steps"] * cost_factor(loss, self.batch))
        control = {"tune_steps": longer, "tune_lr": tuned["tune_lr"], **found.get(SAME_COST, {})}
        return {CONTRASTIVE: tuned, SAME_COST: control}
