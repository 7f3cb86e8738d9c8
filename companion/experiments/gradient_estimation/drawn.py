"""Digits that the recorded network draws, with few evaluations and along the converged flow."""

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
from companion.experiments.results import Results, tidy

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["DrawnDigits", "digits_of_the_record"]

FLOW = "the flow"
NAMES = {"ddim": "DDIM", "gradient_estimation": "γ = 2"}


@dataclass(frozen=True)
class DrawnDigits(Experiment):
    """Images from the network of the last record of ``ImageRace``, from the same noise.

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
    images: int = 10
    budgets: tuple[int, ...] = (5, 10)
    reference: int = 60

    sizes = {"smoke": {"images": 2, "budgets": (5,), "reference": 3}}
    seconds = 6

    def run(self, session: Session) -> Results:
        """Mean distance to the flow's end by row; the images of each row, (images, C, H, W)."""
        record = list(session.records(ImageRace).there().values())[-1]
        unet: Any = restored(record)
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
    """Run ``DrawnDigits`` on the newest record of ``ImageRace``; None if there is no network."""
    records = list(session.records(ImageRace).there().values())
    if not records or "weights" not in records[-1].arrays:
        return None
    weights = hashlib.sha256(records[-1].arrays["weights"].tobytes()).hexdigest()[:12]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")  # of tqdm, in a notebook
        return session.run(DrawnDigits(weights=weights))
