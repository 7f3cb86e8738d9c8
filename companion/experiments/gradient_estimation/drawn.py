"""Digits that a recorded network draws, with few evaluations and along the converged flow."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from companion import noise, samplers
from companion.experiments.experiment import Experiment
from companion.experiments.gradient_estimation.images import ImageRace
from companion.experiments.gradient_estimation.methods import SIGMA_MAX, variants
from companion.experiments.gradient_estimation.problems import error_by_seed
from companion.experiments.images import restored
from companion.experiments.one_denoiser.drawn import kept_network, trained_record
from companion.experiments.one_denoiser.image_training import ImageTraining
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["DrawnDigits", "digits_of_the_record"]

FLOW = "the flow"
NAMES = {"ddim": "DDIM", "gradient_estimation": "γ = 2"}


@dataclass(frozen=True)
class DrawnDigits(Experiment):
    """Images from one recorded network, from the same noise.

    The network is that of chapter 0's ``ImageTraining``, which is trained to its end; without such
    a record, the first one of ``ImageRace``.

    Parameters
    ----------
    weights : str
        The first digits of a hash of the record's weights, so that another record is drawn anew.
    images : int
    budgets : tuple of int
        Network evaluations.
    reference : int
        Steps of Heun's method that stand for the flow.
    """

    weights: str = ""
    images: int = 4
    budgets: tuple[int, ...] = (5, 10)
    reference: int = 60

    sizes = {"smoke": {"images": 2, "budgets": (5,), "reference": 3}}
    seconds = 6

    def run(self, session: Session) -> Results:
        """Mean distance to the flow's end by row; the images of each row, (images, C, H, W)."""
        record = _with_network(session)
        assert record is not None, "digits_of_the_record runs it only where there is a network"
        kept = record.experiment == ImageTraining.name()
        unet: Any = kept_network(record) if kept else restored(record)
        gen = session.generator(29)
        z = SIGMA_MAX * torch.randn(self.images, *record.facts["shape"], generator=gen)
        rows = {}
        for n in self.budgets:
            for method, name in NAMES.items():
                levels = noise.log_linear(n, SIGMA_MAX, 0.1)
                rows[f"{name}, {n}"] = variants(method, n)[""](unet, z, levels)
        rows[FLOW] = samplers.heun(unet, z, noise.log_linear(self.reference, SIGMA_MAX, 0.01))
        away = [float(error_by_seed(row, rows[FLOW], 1)) for row in rows.values()]
        arrays = {name: row.clamp(-1, 1) for name, row in rows.items()}
        return Results(tidy(away, {"row": rows}, measure="error"), arrays)


def digits_of_the_record(session: Session) -> Results | None:
    """Run ``DrawnDigits`` on the record that keeps a network; None if there is none."""
    record = _with_network(session)
    if record is None:
        return None
    weights = hashlib.sha256(record.arrays["weights"].tobytes()).hexdigest()[:12]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")  # of tqdm, in a notebook
        return session.run(DrawnDigits(weights=weights))


def _with_network(session: Session) -> Results | None:
    """Return the record whose network draws; None if no record keeps one."""
    trained = trained_record(session)
    if trained is not None:
        return trained
    records = list(session.records(ImageRace).there().values())
    return records[-1] if records and "weights" in records[-1].arrays else None
