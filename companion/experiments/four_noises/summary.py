"""Chapter 5 in short: filled from results and claims."""

from __future__ import annotations

from typing import TYPE_CHECKING

from companion import plotting
from companion.experiments.claims import Claims
from companion.experiments.four_noises.comparisons import (
    READINGS,
    budgets,
    cells,
    gain,
    interactions,
    labels,
    reading,
)
from companion.experiments.four_noises.pairs import AllPairs
from companion.experiments.four_noises.sampling import SAMPLERS
from companion.experiments.four_noises.stages import CLEAN
from companion.experiments.four_noises.verdicts import verdicts
from companion.experiments.in_short import InShort, choose
from companion.experiments.results import Results
from companion.statistics import Interval

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["box", "changes", "in_short"]

DATA = "digits"
PLAIN, NAIVE = ("denoising", "ddim"), ("naive high", "ddim")


def in_short(session: Session) -> InShort:
    """Run what the box rests on, or take it from memory."""
    return box(session.run(AllPairs), session.published(verdicts(session)))


def box(pairs: Results, claims: Claims) -> InShort:
    """The four ideas together in six lines, from results of ``AllPairs`` and claims."""
    told = {claim.id.removeprefix("meet-"): claim.verdict for claim in claims}
    effects = interactions(pairs)
    words = [reading(effects[(DATA, *cell)]) for cell in cells(pairs, DATA)]
    adds, helps, cancels = (words.count(word) for word in READINGS)
    few, many = budgets(pairs)[0], budgets(pairs)[-1]
    sampler, gained = best_of(changes(pairs, few)["sampler"])
    _, trained = best_of(changes(pairs, few)["training"])
    known, ambient = best_of(changes(pairs, many)["noisy data"])
    return InShort(
        "the four together",
        what="Extra noise in the input, a loss for noisy data, a contrastive loss, and another "
        "sampler: four papers, four changes. Here they meet on the same network, data, compute "
        "and seeds.",
        works=f"Do the effects add up? Of {len(words)} cases on digits (training, naive one "
        f"included, sampler, budget), "
        f"{adds} add up as far as we can see, {helps} help each other and {cancels} cancel.",
        use=" ".join(
            (
                f"Few evaluations: change the sampler first, without training ({sampler} is best "
                f"at {few}; chapter 4 tries more)."
                if gained.below(1.0)
                else f"Stay with DDIM: no other sampler is clearly better at {few} evaluations.",
                f"Noisy data: a loss that knows their noise (best at {many} on digits: {known}; on "
                "MNIST: ambient)."
                if ambient.below(1.0)
                else f"Noisy data: no loss is clearly better than naive training at {many}.",
            )
        ),
        avoid=" ".join(
            (
                choose(
                    told["perturbation-and-gradient"],
                    {
                        "supported": "You want extra noise for gradient estimation: no gain.",
                        "not supported": "Extra noise and gradient estimation do go together.",
                        "else": "You want extra noise for gradient estimation: no clear gain.",
                    },
                ),
                "You hope that the contrastive loss helps a sampler: it helped none, the parallel "
                "one included."
                if (told["contrastive-elsewhere"], told.get("contrastive-off-path"))
                == ("supported", "not supported")
                else choose(
                    told["contrastive-elsewhere"],
                    {
                        "not supported": "The contrastive loss helps all kinds of samplers.",
                        "supported": "You hope that the contrastive loss helps a sampler that "
                        "takes one step after the other: it gains nothing.",
                        "else": "You want the contrastive loss for a sampler that takes one step "
                        "after the other: no clear gain.",
                    },
                ),
            )
        ),
        number=f"Fréchet distance on digits at {few} evaluations, over plain training with DDIM: "
        f"{gained:.2f} by the best sampler, {trained:.2f} by the best training. Noisy data, "
        f"{many} evaluations: {ambient:.2f} of naive training.",
        caveat="8 × 8 digits and points, short training, and the weights of the losses were not "
        "searched. The calculation of widths is for Gaussian data.",
        claims=claims,
    )


def changes(pairs: Results, budget: int) -> dict[str, dict[str, Interval]]:
    """Distance on digits after one change, over that without, by kind of change and its name.

    ``sampler`` and ``training`` are against plain training with DDIM, ``noisy data`` against
    naive training on the same noisy data with DDIM. Each interval holds at 95 % by itself.
    """
    names = labels(pairs, DATA)

    def over(pair: tuple[str, str], plain: tuple[str, str]) -> Interval:
        return gain(pairs, DATA, pair, budget, plain).exp()

    return {
        "sampler": {plotting.method(s)["label"]: over((PLAIN[0], s), PLAIN) for s in SAMPLERS[1:]},
        "training": {names[t]: over((t, PLAIN[1]), PLAIN) for t in CLEAN[1:]},
        "noisy data": {
            names[t]: over((t, NAIVE[1]), NAIVE) for t in ("ambient high", "consistent high")
        },
    }


def best_of(factors: dict[str, Interval]) -> tuple[str, Interval]:
    """Name and factor of the least."""
    return min(factors.items(), key=lambda item: item[1].mean)
