"""The race on images, with U-Nets and convolutional classifiers; recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from companion.experiments.adaptation.image_seed import SMOKE, ImageSeed, ImageSettings
from companion.experiments.images import recipe
from companion.experiments.results import Results
from companion.statistics import best_of_others

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["ImageRace", "chosen"]


@dataclass(frozen=True)
class ImageRace(ImageSettings):
    """All ways to classify corrupted images, with U-Nets, on MNIST or CIFAR-10.

    Each way takes, for each seed, the setting that is most accurate with the other seeds.

    Parameters
    ----------
    seeds : int
        Of networks and noise; two or more.
    Others as of ``ImageSettings``.
    """

    seeds: int = 3

    sizes = {
        "smoke": {**SMOKE, "seeds": 2},
        "long": recipe("mnist", "long", classifier_steps=1000, seeds=5),
        "gpu": [recipe("mnist", "gpu"), recipe("cifar10", "gpu", second_steps=1000)],
    }  # fmt: skip

    def parts(self, session: Session) -> list[ImageSeed]:
        """Return every seed."""
        return [self.with_its(ImageSeed, network_seed=i) for i in range(self.seeds)]

    def run(self, session: Session) -> Results:
        """Accuracy, calibration error and chosen setting by way, condition and seed."""
        parts = [session.run(part) for part in self.parts(session)]
        table = pd.concat([part.table for part in parts])
        return Results([chosen(table)], {}, parts[0].facts)


def chosen(table: pd.DataFrame) -> pd.DataFrame:
    """Take for each way, condition and seed the setting that is best with the other seeds.

    Parameters
    ----------
    table : DataFrame
        Of all ``ImageSeed``: measure, setting, condition, way, seed and value.

    Returns
    -------
    DataFrame without the column ``setting``; it is a measure instead.
    """
    kept = []
    for _, rows in table.groupby(["condition", "way"], sort=False):
        by = rows[rows["measure"] == "accuracy"].pivot(
            index="setting", columns="seed", values="value"
        )
        single = len(by) == 1
        picks = np.zeros(by.shape[1], int) if single else best_of_others(1 - by.to_numpy())
        best = dict(zip(by.columns, by.index[picks]))
        its = rows[rows["setting"] == rows["seed"].map(best)]
        choices = its[its["measure"] == "accuracy"].assign(measure="setting")
        kept.append(pd.concat([its, choices.assign(value=choices["setting"].astype(float))]))
    return pd.concat(kept, ignore_index=True).drop(columns="setting")
