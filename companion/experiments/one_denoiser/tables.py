"""Tables of chapter 0, each made from results."""

from __future__ import annotations

import numpy as np
import pandas as pd

from companion import plotting
from companion.experiments.results import Results
from companion.statistics import mean_interval, paired_difference

__all__ = ["gains", "held_out", "likelihood", "samples"]

RIVALS = ("heun", "gradient_estimation")
"""Samplers that follow the flow as DDIM does, and are compared with it."""


def gains(results: Results) -> pd.DataFrame:
    """How much closer than DDIM samplers come, paired over seeds; all intervals hold together."""
    budgets = results.labels("budget")
    comparisons = 2 * len(RIVALS) * len(budgets)
    lines = []
    for method in RIVALS:
        for budget in budgets:
            line = {"sampler": plotting.method(method)["label"], "evaluations": budget}
            for measure in ("to the data", "to the flow"):
                where = {"measure": measure, "budget": budget}
                ddim, other = (results.values(method=m, **where) for m in ("ddim", method))
                gain = paired_difference(ddim, other, comparisons=comparisons)
                word = "closer" if gain.above(0) else "farther" if gain.below(0) else "unclear"
                line[f"closer {measure} by"] = f"{gain} {word}"
            lines.append(line)
    return pd.DataFrame(lines)


def held_out(results: Results) -> pd.DataFrame:
    """Mean error on held-out images at each level, of each denoiser."""
    errors = results.where(measure="error")
    means = errors.pivot_table(index="level", columns="denoiser", values="value", sort=False)
    return means.rename_axis(columns=None).rename_axis("noise level σ")


def samples(results: Results) -> pd.DataFrame:
    """Fréchet distance and share of copies, of each sampler and of halves of the data."""
    lines = [
        {
            "samples": plotting.method(str(method))["label"],
            "Fréchet distance": str(
                mean_interval(results.values(measure="Fréchet distance", method=method))
            ),
            "copies": f"{results.values(measure='copies', method=method)[0]:.1%}",
        }
        for method in results.labels("method")
    ]
    floor = {"samples": "half of the data", "Fréchet distance": results.facts["noise floor"]}
    return pd.DataFrame([*lines, floor])


def likelihood(results: Results) -> pd.DataFrame:
    """Median error of estimated log-likelihoods, in nats, where there are data.

    Those are the points that are more likely than the least likely one of the data.
    """
    exact = results.grid("point", measure="by its formula")
    inside = exact < exact[: len(exact) // 2].max()
    by_oracle, estimate, by_network = (
        results.grid("point", measure=name)[inside]
        for name in ("exact denoiser", "error estimate", "trained network")
    )
    medians = {
        "error with the exact denoiser": np.abs(by_oracle - exact[inside]),
        "its own estimate of that error": estimate,
        "error with a trained network": np.abs(by_network - exact[inside]),
    }
    return pd.DataFrame({"median, nats": {name: np.median(v) for name, v in medians.items()}})
