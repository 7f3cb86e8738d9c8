"""All ways to classify corrupted images, at equal calls, on a mixture and on digits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from companion import noise
from companion.experiments.adaptation.classifiers import accuracy, calibration_error
from companion.experiments.adaptation.known import LabelledData
from companion.experiments.adaptation.networks import (
    DigitNetworks,
    MixtureNetworks,
    stacks,
    the_data,
)
from companion.experiments.adaptation.purifiers import (
    CORRUPTIONS,
    EntropyGuided,
    averaged,
    one_call,
    raised,
    sampled,
)
from companion.experiments.experiment import Experiment
from companion.experiments.results import Results, tidy
from companion.statistics import best_of_others

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["WAYS", "Course", "DigitRace", "MixtureRace", "condition", "measured"]

WAYS = {
    "nothing": 0,
    "one call": 1,
    "one call, ambient": 1,
    "sampled": 16,
    "sampled, ambient": 16,
    "averaged": 16,
    "guided": 16,
    "trained with noise": 0,
    "tuned, one call": 1,
    "tuned, one call, ambient": 1,
    "tuned, sampled": 16,
}
"""The ways, each with its calls of a denoiser for an image; a backward pass counts as one."""

CEILING, EXACT = "ceiling", "one call, exact"
"""On the mixture only: ``p(class | y)``, and the exact denoiser before the plain classifier."""

DRAWS = 4
"""Samples whose probabilities are averaged."""

CONTENT = (0.0, 0.5)
"""Strengths of the content term that guidance may take."""


def condition(corruption: str, level: float) -> str:
    """Name a corruption: "noise 0.5", "blur"."""
    return f"noise {level:g}" if corruption == "noise" else corruption


@dataclass(frozen=True)
class RaceSettings:
    """Settings of the race.

    Parameters
    ----------
    noises : tuple of float
        Levels of Gaussian noise, known to the purifier.
    factors : tuple of float
        Levels to which noisy images are brought before they are purified, over that of the noise.
    levels : tuple of float
        Levels to which images with another corruption are brought.
    weights : tuple of float
        Of the guidance, ``w`` in 1 / nats.
    number : int
        Test images (all of them where there are fewer).
    repeats : int
        Draws of the noise for each image.
    """

    noises: tuple[float, ...] = (0.5, 1.0, 1.5)
    factors: tuple[float, ...] = (1.0,)
    levels: tuple[float, ...] = (0.1, 0.25)
    weights: tuple[float, ...] = (1.0, 4.0)
    number: int = 364
    repeats: int = 2


SMOKE = {"noises": (0.5,), "factors": (1.0, 1.5), "levels": (0.1,), "weights": (1.0,), "number": 12}


@dataclass(frozen=True)
class MixtureRace(RaceSettings, Experiment):
    """All ways on the mixture of digits, with its ceiling; Gaussian noise only.

    Parameters
    ----------
    As of ``RaceSettings``.
    """

    sizes = {"smoke": SMOKE}
    needs = (MixtureNetworks,)
    seconds = 20

    def run(self, session: Session) -> Results:
        """Accuracy and calibration error by way, condition and seed."""
        return _race(self, session, session.run(MixtureNetworks), ())


@dataclass(frozen=True)
class DigitRace(RaceSettings, Experiment):
    """All ways on digits: Gaussian noise, and three corruptions that are no noise.

    Parameters
    ----------
    As of ``RaceSettings``.
    """

    sizes = {"smoke": SMOKE}
    needs = (DigitNetworks,)
    seconds = 30

    def run(self, session: Session) -> Results:
        """Accuracy and calibration error by way, condition and seed; a few images."""
        return _race(self, session, session.run(DigitNetworks), tuple(CORRUPTIONS))


def _race(settings: Any, session: Session, made: Results, corruptions: tuple[str, ...]) -> Results:
    known = the_data(made.settings, session, made.facts["data"])
    purifiers, classifiers = stacks(made)
    course = Course(settings, known, purifiers, classifiers, made.settings["calls"])
    return measured(course, session, corruptions)


def measured(course: Course, session: Session, corruptions: tuple[str, ...]) -> Results:
    """Accuracy and calibration error of all ways on clean images, with noise, and corrupted."""
    cases = [("noise", level) for level in course.settings.noises]
    cases += [(name, 0.0) for name in corruptions]
    tables: list = []
    arrays: dict[str, Tensor] = {}
    for i, (corruption, level) in enumerate([("none", 0.0), *cases]):
        answers, shown = course.run(corruption, level, session.generator(830 + i))
        name = condition(corruption, level)
        for way, (probabilities, choice) in answers.items():
            measures = {
                "accuracy": accuracy(probabilities, course.labels),
                "calibration error": calibration_error(probabilities, course.labels),
                "setting": choice,
            }
            values = torch.stack([value.cpu() for value in measures.values()])
            dims = {"measure": measures, "seed": range(course.runs)}
            tables.append(tidy(values, dims, condition=name, way=way))
        arrays |= {f"{name}: {what}": images for what, images in shown.items()}
    return Results(tables, arrays, {"test images": len(course.images)})


class Course:
    """The test images, and every way to classify them.

    Parameters
    ----------
    settings : RaceSettings
    known : LabelledData
    purifiers, classifiers : stacks of R by their kind
    calls : int
        Calls for an image of the ways that sample.
    """

    def __init__(
        self, settings: Any, known: LabelledData, purifiers: Any, classifiers: Any, calls: int
    ):
        self.settings, self.known, self.calls = settings, known, calls
        self.purifiers, self.classifiers = purifiers, classifiers
        self.runs = classifiers["plain"].runs
        self.images = known.test[: settings.number]
        self.labels = known.test_labels[: settings.number]

    def run(
        self, corruption: str, level: float, generator: torch.Generator
    ) -> tuple[dict[str, tuple[Tensor, Tensor]], dict[str, Tensor]]:
        """Answer with every way: way -> probabilities (R, N, classes) and setting (R,); images."""
        repeats = self.settings.repeats if corruption == "noise" else 1
        self.labels = self.known.test_labels[: len(self.images)].repeat(repeats)
        clean = self.images.repeat(self.runs * repeats, 1, 1, 1)
        if corruption == "noise":
            y = noise.corrupt(clean, level, generator=generator)
            settings = [level * factor for factor in self.settings.factors]
        else:
            y = CORRUPTIONS[corruption](clean) if corruption != "none" else clean
            settings = list(self.settings.levels)
        answers = {}
        for way, sigmas, answer in self._ways(y, level, settings, generator):
            tried = torch.stack([self._apart(answer(sigma)) for sigma in sigmas])
            answers[way] = self._chosen(tried, sigmas)
        if self.known.mixture is not None:
            ceiling = self._apart(self.known.ceiling(y.double(), level).float())
            answers[CEILING] = ceiling, torch.zeros(self.runs, dtype=torch.float64)
        first = slice(0, 6)
        sigma = settings[0]
        x = raised(y, level, sigma, generator)
        shown = {"seen": y[first]} | {
            f"one call, {kind}": one_call(d, x, sigma)[first] for kind, d in self.purifiers.items()
        }
        shown["sampled"] = sampled(self.purifiers["clean"], x, sigma, self.calls, generator)[first]
        return answers, shown

    def _ways(self, y: Tensor, level: float, settings: list[float], generator: Any) -> Any:
        """Give each way with its settings: a function from a setting to probabilities or logits."""
        purify, classify = self.purifiers, self.classifiers
        lift = partial(raised, y, level, generator=generator)

        def by(classifier: str, clean: Callable[[float], Tensor]) -> Callable[[Any], Tensor]:
            return lambda sigma: classify[classifier](clean(sigma), 0.0).softmax(-1)

        def called(kind: str) -> Callable[[float], Tensor]:
            return lambda sigma: one_call(purify[kind], lift(sigma), sigma)

        def drawn(kind: str, calls: int = self.calls) -> Callable[[Any], Tensor]:
            def clean(setting: tuple[float, bool]) -> Tensor:
                sigma, flow = setting
                return sampled(purify[kind], lift(sigma), sigma, calls, generator, flow=flow)

            return clean

        def plain(x: Tensor) -> Tensor:
            return classify["plain"](x, 0.0)

        def mean(sigma: float) -> Tensor:
            part = max(1, self.calls // DRAWS)
            return averaged(plain, lambda: drawn("clean", part)((sigma, False)), DRAWS)

        def guided(setting: tuple[float, float, float]) -> Tensor:
            sigma, weight, content = setting
            denoiser = EntropyGuided(purify["clean"], plain, weight, content=content, source=y)
            x = sampled(denoiser, lift(sigma), sigma, max(1, self.calls // 2), flow=True)
            return plain(x).softmax(-1)

        both = list(product(settings, (False, True)))

        yield "nothing", [0.0], by("plain", lambda sigma: y)
        yield "one call", settings, by("plain", called("clean"))
        yield "one call, ambient", settings, by("plain", called("ambient"))
        yield "sampled", both, by("plain", drawn("clean"))
        yield "sampled, ambient", both, by("plain", drawn("ambient"))
        yield "averaged", settings, mean
        yield "guided", list(product(settings, self.settings.weights, CONTENT)), guided
        yield "trained with noise", [0.0], by("noise", lambda sigma: y)
        yield "tuned, one call", settings, by("one call", called("clean"))
        yield "tuned, one call, ambient", settings, by("one call, ambient", called("ambient"))
        yield "tuned, sampled", both, by("sampled", drawn("clean"))
        if self.known.mixture is not None and level:
            exact = self.known.mixture.denoiser
            yield EXACT, settings, by("plain", lambda s: exact(lift(s).flatten(1), s).view_as(y))

    def _apart(self, probabilities: Tensor) -> Tensor:
        return probabilities.view(self.runs, -1, probabilities.shape[-1])

    def _chosen(self, tried: Tensor, settings: list) -> tuple[Tensor, Tensor]:
        """Take for each seed the setting that was most accurate on the other seeds."""
        if len(settings) == 1:
            return tried[0], torch.zeros(self.runs, dtype=torch.float64)
        wrong = torch.stack([1 - accuracy(one, self.labels) for one in tried])
        index = torch.as_tensor(best_of_others(wrong.cpu().numpy()))
        return tried[index, torch.arange(self.runs)], index.double()
