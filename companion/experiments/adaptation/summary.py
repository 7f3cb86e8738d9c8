"""Chapter 8 in short: filled from results and claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from companion.experiments.adaptation.comparisons import accuracies, best, noises
from companion.experiments.adaptation.images import ImageRace
from companion.experiments.adaptation.race import DigitRace
from companion.experiments.adaptation.verdicts import verdicts
from companion.experiments.claims import Claims
from companion.experiments.in_short import InShort, choose
from companion.experiments.results import Results
from companion.statistics import Interval, paired_difference

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["box", "in_short", "on_images"]


def in_short(session: Session) -> InShort:
    """Run what the box rests on, or take it from memory."""
    records = session.records(ImageRace).there()
    return box(session.run(DigitRace), session.published(verdicts(session)), records)


def box(race: Results, claims: Claims, images: Mapping[str, Results] | None = None) -> InShort:
    """A denoiser before a classifier in six lines.

    Parameters
    ----------
    race : of ``DigitRace``
    claims : Claims of the chapter
    images : title -> Results of ``ImageRace``, optional
        Where one call surely beats the rival on them, the box says so.
    """
    told = {claim.id.removeprefix("adaptation-"): claim.verdict for claim in claims}
    answers = {claim.id.removeprefix("adaptation-"): claim.answer for claim in claims}
    listed = noises(race)
    middle = listed[len(listed) // 2]
    rival = accuracies(race, "trained with noise", middle)
    purified = best(race, ("one call", "sampled", "averaged", "guided"), middle)
    gap = paired_difference(100 * purified, 100 * rival)
    nothing, pure, noisy = (
        100 * v.mean() for v in (accuracies(race, "nothing", middle), purified, rival)
    )
    return InShort(
        "a denoiser in front of a classifier",
        what="A denoiser cleans an image before a classifier sees it. It may answer in one call, "
        "sample, or be guided by the classifier's own doubt.",
        works=" ".join(
            (
                choose(
                    told["improves"],
                    {
                        "supported": "Yes: sampling first helped with every corruption.",
                        "depends": answers["improves"],
                        "not supported": "No: sampling first gained no point.",
                        "else": "Undecided whether sampling first gains a point.",
                    },
                ),
                answers["comparison"],
            )
        ),
        use="The classifier cannot be trained again, and the corruption is noise of a known level.",
        avoid=choose(
            told["rival"],
            {
                "supported": "You can train the classifier with noise: it costs no calls.",
                "not supported": "You can train the classifier with noise: that is as good and "
                "costs no calls.",
                "else": "You can train the classifier with noise: on 8 × 8 digits no purifier "
                "before an unchanged classifier clearly beats that. But check its confidence.",
            },
        )
        + "".join(_beaten(title, record) for title, record in (images or {}).items()),
        number=f"Digits, {middle}: {nothing:.1f} % right with nothing in front, {pure:.1f} % with "
        f"the best purifier, {noisy:.1f} % with a classifier trained with noise "
        f"({gap:+.1f} points for the purifier).",
        caveat="8 × 8 digits and small networks. No style term, which needs CLIP. The classifier "
        "itself saw clean, labelled images in every case.",
        claims=claims,
    )


def _beaten(title: str, record: Results) -> str:
    """Where one call is surely better than training with noise by a point, as a sentence."""
    conditions = [c for c in map(str, record.labels("condition")) if c.startswith("noise")]
    sure = _where(_gains(record, "trained with noise", conditions), 1)
    return "" if sure == "nowhere" else f" On {title} one call was better at {sure}."


def _gains(record: Results, rival: str, conditions: Sequence[str]) -> dict[str, Interval]:
    """One call less a rival in points, by condition; each interval by itself."""
    return {
        c: paired_difference(
            100 * accuracies(record, "one call", c), 100 * accuracies(record, rival, c)
        )
        for c in conditions
    }


def on_images(record: Results) -> str:
    """What a record of ``ImageRace`` shows of one call and of its rival, in sentences."""
    told = []
    for rival, words in (
        ("nothing", "nothing in front"),
        ("trained with noise", "a classifier trained with noise"),
    ):
        conditions = [c for c in map(str, record.labels("condition")) if c != "none"]
        gains = _gains(record, rival, conditions)
        numbers = ", ".join(f"{c} {gain:+.1f}" for c, gain in gains.items())
        told.append(
            f"One call against {words}: certainly better by a point or more: {_where(gains, 1)}; "
            f"certainly worse: {_where(gains, -1)} (in points: {numbers})."
        )
    settings = record.settings
    told.append(
        f"The denoisers had {settings['steps']:,} training steps and each classifier "
        f"{settings['classifier_steps'] + settings['second_steps']:,}, so the rival is the cheaper "
        "one in training too."
    )
    return " ".join(told)


def _where(gains: dict[str, Interval], sign: int) -> str:
    """Conditions in which the interval is beyond a point, as words."""
    sure = [c for c, gain in gains.items() if (gain.above(1) if sign > 0 else gain.below(-1))]
    return ", ".join(sure) or "nowhere"
