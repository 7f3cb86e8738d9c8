"""What chapter 7 says in short: six lines, chosen by its verdicts and filled from its results."""

from __future__ import annotations

import numpy as np

from companion.experiments.claims import Claims
from companion.experiments.foellmer.comparisons import smooth_over_pinned
from companion.experiments.foellmer.densities import Sampling
from companion.experiments.foellmer.verdicts import verdicts
from companion.experiments.foellmer.widths import Widths
from companion.experiments.in_short import InShort, choose
from companion.experiments.results import Results
from companion.experiments.session import Session

__all__ = ["in_short", "summarise"]

FEWER = {
    "supported": "To learn, the smoothing form needs fewer parameters than the pinned one, as the "
    "paper says.",
    "not supported": "In training here the smoothing form did not need fewer parameters than the "
    "pinned one. The paper's abstract says that it needs fewer.",
    "depends": "Which form needs fewer parameters depends on the loss and on what the network "
    "gives.",
    "else": "Which form needs fewer parameters is not decided.",
}
USE = {
    "supported": "You have data: learn the preconditioned denoiser, it serves both forms and is as "
    "good as the best raw one.",
    "not supported": "You have data: compare the preconditioned denoiser with a raw drift, which "
    "was better once.",
    "else": "You have data: learn the preconditioned denoiser, it serves both forms.",
}
AVOID = {
    "supported": "You have only a density in few dimensions: annealed particles found the weights "
    "of far modes better than any drift that was learned.",
    "not supported": "You need no certainty about modes: annealed particles found their weights no "
    "better than learned drifts.",
    "else": "You have only a density in few dimensions: try annealed particles first.",
}


def in_short(session: Session) -> InShort:
    """Run what the chapter rests on, or take it from memory, and sum it up."""
    return summarise(
        session.published(verdicts(session)), session.run(Widths), session.run(Sampling)
    )


def summarise(claims: Claims, widths: Results, sampling: Results) -> InShort:
    """Six lines on the chapter.

    Parameters
    ----------
    claims : Claims of the chapter
    widths, sampling : Results of ``Widths`` and ``Sampling``
    """
    told = {claim.id: claim.verdict for claim in claims}
    ratios = [ratio.mean for ratio in smooth_over_pinned(widths).values()]
    wrong = {
        name: np.mean(sampling.values(measure="error of weights", target="far", method=name))
        for name in ("annealed", "PIS", "log-variance")
    }
    return InShort(
        method="the Föllmer drift",
        what="The drift that takes the origin to the data in unit time with the least energy. It "
        "is the denoiser in other coordinates; with it, pinned and smoothed paths are one process.",
        works="Drift and denoiser are one exactly. "
        f"{choose(told['foellmer-fewer-parameters'], FEWER)}",
        use=choose(told["foellmer-preconditioning"], USE),
        avoid=choose(told["foellmer-annealing"], AVOID),
        number="Error of an Ornstein-Uhlenbeck (OU) network over a pinned one of the same size: "
        f"{min(ratios):.1f} to {max(ratios):.1f}, by form and loss. Far modes, share of samples in "
        "the wrong ones: "
        + ", ".join(f"{name} {share:.2f}" for name, share in wrong.items())
        + ".",
        caveat="Points in the plane, small networks, short training. The networks of the samplers "
        "never see the gradient of the density as an input, which published ones do.",
        claims=claims,
    )
