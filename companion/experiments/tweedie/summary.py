"""Chapter 2 in short: six lines, chosen by its verdicts and filled from its results."""

from __future__ import annotations

from collections.abc import Mapping

from companion.experiments.claims import Claims
from companion.experiments.in_short import InShort, choose
from companion.experiments.results import Results
from companion.experiments.session import Session
from companion.experiments.tweedie.comparisons import image_interval, race_ratios
from companion.experiments.tweedie.images import ImageRace
from companion.experiments.tweedie.looks import three
from companion.experiments.tweedie.methods import AMBIENT
from companion.experiments.tweedie.race import Race
from companion.experiments.tweedie.verdicts import verdicts
from companion.statistics import Interval

__all__ = ["in_short", "summarise"]

BELOW = {
    "supported": "Yes for errors below the noise of the data: the smallest of all that are trained "
    "on noisy data.",
    "depends": "Often for errors below the noise of the data: the smallest of all that are trained "
    "on noisy data, but not in all settings.",
    "not supported": "No for errors below the noise of the data: others trained on noisy data have "
    "smaller ones.",
    "inconclusive": "Not decided for errors below the noise of the data.",
}
SAMPLES = {
    "supported": "Samples of points are as good as after training on clean data.",
    "not supported": "Samples of points are worse than after training on clean data.",
    "else": "Samples of points may be worse than after training on clean data.",
}
USE = {
    "better": "All data carry Gaussian noise of a known size. Use both losses.",
    "worse": "All data carry Gaussian noise of a known size. On MNIST (14 × 14) samples were "
    "better with the ambient loss alone; add consistency for small errors at low noise.",
    "else": "All data carry Gaussian noise of a known size. Compare with the ambient loss alone, "
    "which is simpler.",
}
AVOID = {
    "better": "There are clean data enough, or the noise is of another kind.",
    "worse": "There are clean data enough, or only samples count: on MNIST (14 × 14) consistency "
    "made them worse than the ambient loss alone.",
    "else": "There are clean data enough, or the noise is of another kind.",
}


def in_short(session: Session) -> InShort:
    """Run what the chapter rests on, or take it from memory, and sum it up."""
    below = race_ratios(session.run(Race))[AMBIENT, "geometric"]
    records = session.records(ImageRace).there()
    return summarise(session.published(verdicts(session)), below, image_ratios(records))


def image_ratios(records: Mapping[str, Results]) -> list[Interval]:
    """Frechet distances of consistency over those of the ambient loss alone, on all records."""
    found = [
        image_interval(record, "Frechet distance", AMBIENT, float(s_n))  # type: ignore[arg-type]
        for record in records.values()
        for s_n in record.labels("noise")
    ]
    return [ratio for ratio in found if ratio is not None]


def summarise(claims: Claims, below: Interval, images: list[Interval]) -> InShort:
    """Six lines on the chapter.

    Parameters
    ----------
    claims : Claims of the chapter
    below : Interval
        Error below the noise of the data over that of the ambient loss alone.
    images : list of Interval
        Frechet distances of image samples over those of the ambient loss alone; may be empty.
    """
    told = {claim.id: claim.verdict for claim in claims}
    effect = on_images(images)
    return InShort(
        method="ambient Tweedie with consistency",
        what="It trains a denoiser of clean data on noisy data only. The ambient loss covers the "
        "levels above their noise. Below it, the denoiser must agree with itself on its way down.",
        works=f"{choose(told['tweedie-below-noise'], BELOW)} "
        f"{choose(told['tweedie-clean-samples'], SAMPLES)}",
        use=USE.get(effect, USE["else"]),
        avoid=AVOID.get(effect, AVOID["else"]),
        number="Consistency over the ambient loss alone: error below the noise "
        f"{three(below)} on points{_listed(images)}.",
        caveat="The theory needs Gaussian noise of known size. Networks are small here; Stable "
        "Diffusion XL, which the paper fine-tunes, was not run.",
        claims=claims,
    )


def on_images(ratios: list[Interval]) -> str:
    """Return "better" or "worse" if some samples are decided so and none the other way."""
    signs = {"better": any(r.below(1) for r in ratios), "worse": any(r.above(1) for r in ratios)}
    found = [name for name, there in signs.items() if there]
    return found[0] if len(found) == 1 else "else"


def _listed(ratios: list[Interval]) -> str:
    if not ratios:
        return ""
    ends = sorted({min(ratios), max(ratios)})
    return f"; Fréchet distance of image samples {' to '.join(map(three, ends))}"
