"""Searches on images: what those of all chapters share, so that every method is searched alike.

A search tries as many settings for a method as for its rival, at the same cost. It has a network of
its own and a half of the test images of its own: what it chooses is measured with other networks
against the other half.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from companion import metrics
from companion.experiments.records import plain
from companion.experiments.results import Results

if TYPE_CHECKING:
    from companion.experiments import image_setting
    from companion.experiments.images import ImageExperiment
    from companion.experiments.session import Session

__all__ = [
    "CHOSEN_BY",
    "SEARCHED",
    "Distance",
    "balanced",
    "best_trial",
    "chosen",
    "halves",
    "searched",
    "shared_setting",
]

SEARCHED = 5
"""Seed of the network that settings are searched with; results have those of 0 to 4."""
CHOSEN_BY = "distance to choose by"
"""The measure that every search goes by: a Fréchet distance to the first half of the test images,
or the geometric mean of several."""

Distance = Callable[[Tensor], float]
"""Fréchet distance of samples (N, C, H, W) to real images."""


def halves(setting: image_setting.Setting) -> tuple[Distance, Distance]:
    """Return two Fréchet distances, to the first and to the second half of the test images.

    The first is for choosing settings, the second for results. As ``Setting.frechet`` they are NaN
    if a sample is not finite, and samples are clamped to [-1, 1].
    """
    real = setting.classifier.features(setting.test)
    middle = len(real) // 2

    def to(part: Tensor) -> Distance:
        def distance(samples: Tensor) -> float:
            if not samples.isfinite().all():
                return float("nan")
            fake = setting.classifier.features(samples.clamp(-1, 1))
            return float(metrics.frechet_distance(fake, part))

        return distance

    return to(real[:middle]), to(real[middle:])


def best_trial(results: Results, method: str) -> int:
    """Return the number of a method's trial with the least ``CHOSEN_BY``; failed ones do not count.

    Raises
    ------
    ValueError
        If the method has no trial that is finite.
    """
    rows = results.where(measure=CHOSEN_BY, method=method).dropna(subset="value")
    if rows.empty:
        raise ValueError(f"method: got {method!r}; allowed is one with a trial that is finite")
    return int(rows.loc[rows["value"].idxmin(), "trial"])


def chosen(results: Results) -> dict[str, dict[str, Any]]:
    """Return the settings that a search chose, by method.

    Its facts have ``trials``, the settings of every trial by method.
    """
    trials: Mapping[str, list] = plain("trials", results.facts["trials"])
    return {method: dict(listed[best_trial(results, method)]) for method, listed in trials.items()}


def searched(
    session: Session, search: type[ImageExperiment], config: ImageExperiment
) -> dict[str, dict[str, Any]]:
    """Return what a search chose, by method, from its record at this profile; run without one.

    Nothing if the profile has no size for it, or if its images or networks are others: a setting is
    not carried from one size to another.
    """
    if not search.planned(session.profile):
        return {}
    record = session.latest(search)
    same = ("data", "shrink", "channels", "layers", "steps", "batch")
    asked = plain("settings", {name: getattr(config, name) for name in same})
    return chosen(record) if all(record.settings[n] == asked[n] for n in same) else {}


_CLASSIFIERS: dict[tuple, Any] = {}


def shared_setting(config: ImageExperiment) -> image_setting.Setting:
    """Return the setting of a part; all parts of a process have one classifier, trained once."""
    setting = config.setting()
    key = (config.data, config.images, config.shrink, config.classifier_steps, setting.device)
    if key in _CLASSIFIERS:
        setting.__dict__["classifier"] = _CLASSIFIERS[key]
    _CLASSIFIERS[key] = setting.classifier
    return setting


def balanced(values: Sequence[Any], number: int, source: random.Random) -> list[Any]:
    """Return each value about equally often, ``number`` in all, in a random order."""
    listed = [values[i % len(values)] for i in range(number)]
    source.shuffle(listed)
    return listed
