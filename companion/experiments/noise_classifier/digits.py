"""Networks on 8 x 8 digits: their samples, and how well they tell clean from noised digits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from companion import data, denoisers, metrics, networks, noise, objectives, samplers, training
from companion.checkpoint import from_arrays, to_arrays
from companion.experiments.experiment import Experiment
from companion.experiments.noise_classifier.continuations import (
    BATCH,
    BEFORE,
    CONTRASTIVE,
    SAME_COST,
    SAME_STEPS,
    TRAINED,
    continue_training,
    gather,
    with_controls,
)
from companion.experiments.noise_classifier.loss import InParts, around_digits, best_scale, scan
from companion.experiments.noise_classifier.picard import (
    FORMS,
    SAMPLERS,
    SIGMA_MAX,
    draw,
    schedule_of_cost,
)
from companion.experiments.noise_classifier.ratio import auc, cross_entropy
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["DigitNetworks", "DigitSamples", "DigitScan", "DigitTest"]

DATA_STD, SIGMA_MIN = 0.75, 0.05
METHODS = (BEFORE, SAME_STEPS, SAME_COST, CONTRASTIVE)
DENOISING = objectives.DenoisingScoreMatching(noise.LogNormal(-0.5, 1.4), "edm", DATA_STD)


def digit_network(number: int) -> nn.Module:
    """Return a small denoiser of the 64 pixels of a digit, with first weights of its own."""
    make = partial(networks.MLP, (1, 8, 8), width=128)
    return denoisers.Preconditioned(networks.seeded(make, number), DATA_STD)


def contrastive(samples: int | None = 4) -> objectives.ContrastiveDiffusion:
    """Return the loss as it is trained with on digits: 16 points, 4 samples of a batch."""
    return objectives.ContrastiveDiffusion(
        contrast=noise.LogUniform(0.02, 0.3), levels=noise.LogUniform(0.02, 20.0), points=16,
        samples=samples, sigma_data=DATA_STD,
    )  # fmt: skip


class Quality:
    """Frechet distance to the test digits, in the features of a classifier of training digits.

    Parameters
    ----------
    seed, steps : int
        Of the classifier.
    each : int
        Samples of a run.
    """

    def __init__(self, seed: int, steps: int, each: int):
        test = data.images("digits", "test")
        self.classifier = metrics.FeatureClassifier.train(
            *data.images("digits", "train"), seed=seed, held_out=test, data="digits", steps=steps
        )
        self.each, self.real = each, self.classifier.features(test[0])

    def distance(self, samples: Tensor) -> float:
        """Distance of samples (N, 1, 8, 8), taken as one run."""
        return metrics.frechet_distance(self.classifier.features(samples), self.real)

    def by_run(self, samples: Tensor) -> Tensor:
        """Distance of each run, (R,), of samples (R * each, 1, 8, 8)."""
        features = self.classifier.features(samples).view(-1, self.each, 64)
        return torch.tensor([metrics.frechet_distance(f, self.real) for f in features])


@dataclass(frozen=True)
class DigitScan(Experiment):
    """Scale error of an exact denoiser at which the loss is least, in the setting for digits.

    Parameters
    ----------
    samples, centres, scales : int
        Samples of each run; digits that have a narrow Gaussian around them; scale errors.
    seeds : int
    """

    samples: int = 48
    centres: int = 150
    scales: int = 13
    seeds: int = 2

    sizes = {"smoke": {"samples": 4, "centres": 20, "scales": 5}}
    seconds = 6

    def run(self, session: Session) -> Results:
        """Scale error of the least loss."""
        mixture, scales = around_digits(self.centres), torch.linspace(-0.3, 0.3, self.scales)
        columns = []
        for r in range(self.seeds):
            x = mixture.sample(self.samples, session.generator(120 + r))
            losses = scan(
                contrastive(None), InParts(mixture.denoiser), x, scales,
                lambda r=r: session.generator(122 + r),
            )  # fmt: skip
            columns.append(losses)
        best = best_scale(scales, torch.stack(columns, 1))
        return Results(tidy(best, {"seed": range(self.seeds)}, measure="best scale"))


@dataclass(frozen=True)
class DigitNetworks(Experiment):
    """Networks on digits, continued with and without the contrastive loss.

    The weight of the loss is chosen on networks that the comparison does not use, by their samples.

    Parameters
    ----------
    steps, tune_steps : int
        Of the networks before; of the continuations with the loss.
    weights : tuple of float
        Weights of the loss that are tried, as for two dimensions: divided by 32 for 64.
    samples : int
        Of each spare network.
    classifier_steps : int
        Of the classifier whose features measure samples.
    spare, seeds : int
        Networks for choosing the weight, and those that are compared.
    """

    steps: int = 500
    tune_steps: int = 60
    weights: tuple[float, ...] = (0.1, 0.3, 1.0)
    samples: int = 128
    classifier_steps: int = 300
    spare: int = 2
    seeds: int = 8

    sizes = {
        "smoke": {
            "steps": 6, "tune_steps": 2, "weights": (0.1,), "samples": 16, "classifier_steps": 5,
            "spare": 1, "seeds": 2,
        }
    }  # fmt: skip
    seconds = 30

    def run(self, session: Session) -> Results:
        """Weights of all networks; the weights of the loss that were tried, with distances."""
        digits, _ = data.images("digits", "train")
        number = self.seeds + self.spare
        seeds = [1000 * session.seed + r for r in range(number)]
        trained = training.fit(
            [digit_network(s) for s in seeds], DENOISING, digits, steps=self.steps,
            batch_size=BATCH, lr=2e-3, seed=seeds, device="cpu",
        ).denoiser  # fmt: skip
        before = gather(trained, range(self.seeds))
        spare = gather(trained, range(self.seeds, number))
        later = [s + 700 for s in seeds]
        quality = Quality(session.seed, self.classifier_steps, self.samples)
        z = torch.randn(self.seeds * self.samples, 1, 8, 8, generator=session.generator(102))
        schedule = noise.log_linear(20, SIGMA_MAX, SIGMA_MIN)
        found = []
        for weight in self.weights:
            goals = with_controls(DENOISING, contrastive(), self.tune_steps, weight / 32)
            nets = continue_training(
                spare, {CONTRASTIVE: goals[CONTRASTIVE]}, [digits] * self.spare,
                later[self.seeds :], lr=1e-3,
            )  # fmt: skip
            x = draw(
                "DDIM", nets[CONTRASTIVE], z[: self.spare * self.samples], schedule,
                session.generator(105),
            )  # fmt: skip
            found.append(float(quality.by_run(x).mean()))
        chosen = self.weights[min(range(len(found)), key=lambda i: found[i])]
        goals = with_controls(DENOISING, contrastive(), self.tune_steps, chosen / 32)
        stacks = {BEFORE: before} | continue_training(
            before, goals, [digits] * self.seeds, later[: self.seeds], lr=1e-3
        )
        return Results(
            tidy(found, {"weight": self.weights}, measure="Frechet distance"),
            to_arrays(stacks),
            {"weight": chosen, "classifier": quality.classifier.describe()},
        )


def digit_networks(session: Session, methods: Sequence[str] = METHODS) -> dict[str, Any]:
    """Return the stacks of ``DigitNetworks``, method -> Stack."""
    results = session.run(DigitNetworks)
    return {m: from_arrays(results.arrays, digit_network(0), m) for m in methods}


@dataclass(frozen=True)
class DigitTest(Experiment):
    """Held-out digits, some of them with noise: how well the networks tell which.

    A seed is a network with test digits of its own; all methods are asked about the same.

    Parameters
    ----------
    noise : tuple of float
        Noise of the noised digits, pixels in [-1, 1].
    digits : int
        Clean digits, and as many noised ones.
    points : int
        Noise levels of the integral.
    """

    noise: tuple[float, ...] = (0.05, 0.1)
    digits: int = 40
    points: int = 24

    sizes = {"smoke": {"digits": 6, "points": 4}}
    needs = (DigitNetworks,)
    seconds = 10

    def run(self, session: Session) -> Results:
        """Cross entropy in nats and area under the curve, by noise, method and seed."""
        stacks, (held_out, _) = digit_networks(session), data.images("digits", "test")
        runs, half = len(stacks[BEFORE]), self.digits
        found = torch.empty(2, len(self.noise), len(METHODS), runs)
        clean = torch.arange(2 * half) < half
        for r in range(runs):
            source = session.generator(400 + r)
            y = held_out[torch.randperm(len(held_out), generator=source)[: 2 * half]]
            eps = torch.randn(y[half:].shape, generator=source)
            for i, t in enumerate(self.noise):
                noised = torch.cat([y[:half], y[half:] + t * eps])
                for j, method in enumerate(METHODS):
                    ratio = metrics.log_likelihood_ratio(
                        stacks[method][r], noised, t, points=self.points, sigma_min=0.02,
                        sigma_max=20.0, sigma_data=DATA_STD, generator=session.generator(430 + r),
                    ).value  # fmt: skip
                    found[0, i, j, r] = cross_entropy(ratio)
                    found[1, i, j, r] = auc(ratio, clean)
        dims: dict = {"t": self.noise, "method": METHODS, "seed": range(runs)}
        return Results(
            [tidy(found[0], dims, measure="cross entropy"), tidy(found[1], dims, measure="area")]
        )


@dataclass(frozen=True)
class DigitSamples(Experiment):
    """Samples of digits, in parallel and in sequence: Frechet distance to the test digits.

    A seed is a network with starting noise of its own; all are measured with one classifier.

    Parameters
    ----------
    budgets : tuple of int
        Network evaluations of sequential samplers.
    steps : int
        Of DDPM, by Picard iteration.
    depths : tuple of int
        Iterations after which samples are measured.
    samples : int
        For each seed.
    classifier_steps : int
        Of the classifier whose features measure samples.
    """

    budgets: tuple[int, ...] = (10, 20, 50)
    steps: int = 25
    depths: tuple[int, ...] = (2, 4, 6, 8, 12)
    samples: int = 128
    classifier_steps: int = 300

    sizes = {
        "smoke": {
            "budgets": (10,), "steps": 8, "depths": (2, 4), "samples": 16, "classifier_steps": 5,
        }
    }  # fmt: skip
    needs = (DigitNetworks,)
    seconds = 30

    def run(self, session: Session) -> Results:
        """Distances by kind, sampler, budget (evaluations, or iterations), method and seed."""
        stacks = digit_networks(session, TRAINED)
        runs = len(stacks[TRAINED[0]])
        quality = Quality(session.seed, self.classifier_steps, self.samples)
        z = torch.randn(runs * self.samples, 1, 8, 8, generator=session.generator(102))
        tables = []

        def note(kind: str, sampler: str, budget: int, method: str, x: Tensor) -> None:
            where = {"kind": kind, "sampler": sampler, "budget": budget, "method": method}
            dims = {"seed": range(runs)}
            tables.append(tidy(quality.by_run(x), dims, measure="Frechet distance", **where))

        for method, stack in stacks.items():
            for form in FORMS:
                states = self._picard(stack, SIGMA_MAX * z, form, session.generator(103))
                for depth in self.depths:
                    x = states[min(depth, len(states)) - 1]
                    note(form, "DDPM", depth, method, x)
            for sampler in SAMPLERS:
                for budget in self.budgets:
                    schedule = schedule_of_cost(sampler, budget, SIGMA_MAX, SIGMA_MIN)
                    x = draw(sampler, stack, z, schedule, session.generator(104))
                    note("sequential", sampler, budget, method, x)
        real, _ = data.images("digits", "train")
        floor = []
        for s in range(5):
            order = torch.randperm(len(real), generator=session.generator(110 + s))
            floor.append(quality.distance(real[order[: self.samples]]))
        tables.append(tidy(floor, {"seed": range(5)}, measure="floor"))
        return Results(tables, facts={"classifier": quality.classifier.describe()})

    def _picard(self, stack: Any, x: Tensor, form: str, generator: torch.Generator) -> list[Tensor]:
        states: list[Tensor] = []
        samplers.picard(
            stack, x, noise.log_linear(self.steps, SIGMA_MAX, SIGMA_MIN), tolerance=0.0,
            max_iterations=max(self.depths), stochastic=True, semilinear=FORMS[form],
            generator=generator, callback=lambda step: states.append(step.x[-1]),
        )  # fmt: skip
        return states
