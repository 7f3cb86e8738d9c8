"""Digits drawn live from the network that the record of ``ImageTraining`` keeps."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from companion import denoisers, noise, samplers
from companion.experiments.experiment import Experiment
from companion.experiments.one_denoiser.image_training import (
    SIGMA_MAX,
    SIGMA_MIN,
    ImageTraining,
    read,
)
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["LargeDigits", "kept_network", "large_digits", "trained_record"]


def trained_record(session: Session) -> Results | None:
    """Return the last record of ``ImageTraining`` that keeps weights; None if there is none."""
    there = [r for r in session.records(ImageTraining).there().values() if "weights" in r.arrays]
    return there[-1] if there else None


def kept_network(record: Results) -> denoisers.Preconditioned:
    """Return the network whose weights a record of ``ImageTraining`` keeps, for sampling."""
    make, _, _ = read(record.facts["best"], record.facts["shape"])
    denoiser = denoisers.Preconditioned(make(), record.facts["data_std"])
    nn.utils.vector_to_parameters(record.tensor("weights").float(), denoiser.parameters())
    return denoiser.eval().requires_grad_(False)


@dataclass(frozen=True)
class LargeDigits(Experiment):
    """Samples of the network of the last record of ``ImageTraining``, not selected.

    Parameters
    ----------
    weights : str
        The first digits of a hash of the record's weights, so that another record is drawn anew.
    images : int
    steps : int
        Of Heun's method.
    """

    weights: str = ""
    images: int = 15
    steps: int = 16

    sizes = {"smoke": {"images": 2, "steps": 2}}
    seconds = 3

    def run(self, session: Session) -> Results:
        """Evaluations of a sample; images, (images, C, H, W); what the network is in the facts."""
        record = trained_record(session)
        if record is None:
            return Results(tidy([0], {"measure": ["evaluations"]}))
        z = torch.randn(self.images, *record.facts["shape"], generator=session.generator(31))
        levels = noise.log_linear(self.steps, SIGMA_MAX, SIGMA_MIN)
        x = samplers.heun(kept_network(record), SIGMA_MAX * z, levels)
        table = tidy([2 * self.steps - 1], {"measure": ["evaluations"]})
        facts = {"network": record.facts["best"]}
        return Results(table, {"samples": x.clamp(-1, 1)}, facts)


def large_digits(session: Session) -> Results | None:
    """Run ``LargeDigits`` on the last record; None if there is no network."""
    record = trained_record(session)
    if record is None:
        return None
    weights = hashlib.sha256(record.arrays["weights"].tobytes()).hexdigest()[:12]
    return session.run(LargeDigits(weights=weights))
