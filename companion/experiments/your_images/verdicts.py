"""What chapter 9 concludes: one rule a claim. Intervals are over pictures, paired."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from companion.experiments.claims import Claim, Claims
from companion.experiments.results import Results
from companion.experiments.session import Session
from companion.experiments.your_images.folders import BM3D, ManyPictures, OnePhotograph, OneSky
from companion.experiments.your_images.levels import Levels
from companion.experiments.your_images.losses import NOISE2SELF, Losses
from companion.experiments.your_images.race import FILTER, OURS, RIVALS, Race
from companion.statistics import Interval, combine, decide, mean_interval, paired_difference

__all__ = ["gains", "judge", "verdicts"]

GAIN = 0.2
"""Decibels of mean PSNR that count, against filters and Noise2Self."""
ADDED = 0.03
"""Decibels that count as something that the short training of this page adds."""
EVEN = 0.1
"""Decibels below BM3D that still count as level with it."""
GRAIN = " The true picture has grain that is not white, which may favour this tool."
"""What has to be said of the sky."""
CALIBRATED = 1.25
"""Factor by which predicted and true error may differ."""
WITHIN = 0.10
"""Relative error of the noise level that is allowed."""
SEEN = 0.5
"""Decibels by which the estimate without truth may be off."""


def gains(results: Results, rival: str, comparisons: int = 1, **where: object) -> Interval:
    """PSNR of the tool minus that of a rival, decibels, over pictures."""
    ours, other = (
        results.grid("picture", measure="psnr", method=m, **where) for m in (OURS, rival)
    )
    return paired_difference(ours, other, comparisons=comparisons)


def over_filters(race: Results) -> Claim:
    """Above every filter at every noise level."""
    levels = race.labels("level", measure="psnr")
    count = len(levels) * len(RIVALS)
    all_gains = {(v, r): gains(race, r, count, level=v) for v in levels for r in RIVALS}
    judged = {place: decide(gain, GAIN) for place, gain in all_gains.items()}
    verdict = combine(judged.values())
    open_ = [place for place, one in judged.items() if one == "inconclusive"]
    if verdict == "inconclusive":
        first = max(open_, key=lambda k: all_gains[k].high - all_gains[k].low)
        what = f"The widest of {len(open_)} open gains"
    else:
        first = min(all_gains, key=lambda k: all_gains[k].mean)
        what = "The smallest gain"
    answers = {
        "supported": "Yes: above wavelets, total variation and non-local means at every level.",
        "depends": "Above the usual filters at some noise levels only.",
        "not supported": "No: it is not above the usual filters.",
        "inconclusive": "Undecided: it may not be above every filter at every level.",
    }
    return Claim(
        "images-over-filters",
        verdict,
        f"{what} is that over {first[1]} at noise {first[0]:g}: {all_gains[first]:.2f} dB. From "
        f"{GAIN:g} dB on it counts. Each filter has its best strength, chosen by the truth.",
        answer=answers[verdict],
        interval=all_gains[first],
        data=f"{_count(race)} pictures, PSNR in dB",
        figure="fig-yi-race",
    )


def adds(
    race: Results,
    record: Results | None = None,
    folders: Mapping[str, Results | None] | None = None,
) -> Claim:
    """The network is above its own filter: in the long run if it is recorded, else here.

    Parameters
    ----------
    race : of ``Race``
    record : of ``ManyPictures``
    folders : name -> record of another folder, whose gain is told and decides nothing
    """
    where = " on different pictures" if record is not None else ""
    if record is not None:
        all_gains, data = {record.settings["sigma"]: gains(record, FILTER)}, "ten minutes"
        steps, count, provenance = record.facts["steps"], _count(record), record.line
    else:
        levels = race.labels("level", measure="psnr")
        all_gains = {v: gains(race, FILTER, len(levels), level=v) for v in levels}
        data, steps, count, provenance = "short runs", race.settings["steps"], _count(race), "live"
    verdict = combine(decide(gain, ADDED) for gain in all_gains.values())
    after = f"after {steps:,} steps of training"
    answers = {
        "supported": f"Yes{where and ',' + where}: {after} the network adds to its filter.",
        "depends": f"{after.capitalize()} the network adds to its filter at some levels only.",
        "not supported": f"No: {after} the network adds nothing to its filter.",
        "inconclusive": f"Undecided: {after} the network may add nothing.",
    }
    told = ", ".join(f"{v:g}: {gain:.3f}" for v, gain in all_gains.items())
    others = "".join(
        f" On {name} it is {gains(found, FILTER):.2f}."
        for name, found in (folders or {}).items()
        if found is not None
    )
    middle = list(all_gains)[len(all_gains) // 2]
    return Claim(
        "images-network-adds",
        verdict,
        f"PSNR with the network minus that of its filter alone, by noise level, in dB: {told}."
        f"{others}",
        answer=answers[verdict],
        interval=all_gains[middle],
        data=f"{count} pictures, {data}, dB at noise {middle:g}",
        provenance=provenance,
        figure="fig-yi-race",
    )


def over_noise2self(losses: Results) -> Claim:
    """Above Noise2Self at equal time."""
    gain = gains(losses, NOISE2SELF)
    verdict = decide(gain, GAIN)
    answers = {
        "supported": "Yes: at equal time it is above a Noise2Self network of its size.",
        "not supported": "No: a Noise2Self network of its size does as well at equal time.",
        "inconclusive": "Undecided: a Noise2Self network may do as well at equal time.",
    }
    return Claim(
        "images-over-noise2self",
        verdict,
        f"PSNR minus that of Noise2Self: {gain:.2f} dB. Noise2Self has the better of two ways of "
        "being asked, chosen by the truth, and does not need the noise level.",
        answer=answers[verdict],
        interval=gain,
        data=f"{_count(losses)} pictures, noise {losses.settings['level']:g}, dB",
        figure="fig-yi-losses",
    )


def uncertainty(race: Results) -> Claim:
    """Predicted error over true error."""
    told, true = (race.grid("picture", measure=f"{m} error") for m in ("predicted", "true"))
    ratio = mean_interval(np.log(told / true)).exp()
    low, high = 1 / CALIBRATED, CALIBRATED
    inside = ratio.above(low) and ratio.below(high)
    outside = ratio.below(low) or ratio.above(high)
    verdict = "supported" if inside else "not supported" if outside else "inconclusive"
    size = "too large" if ratio.mean > 1 else "too small"
    answers = {
        "supported": f"Yes: the predicted error is right to a factor of {CALIBRATED:g}.",
        "not supported": f"No: the predicted error is {size}, by {abs(ratio.mean - 1):.0%}.",
        "inconclusive": f"Undecided: the predicted error may be {size} by a factor of "
        f"{CALIBRATED:g}.",
    }
    return Claim(
        "images-uncertainty",
        verdict,
        f"Root mean square of the uncertainty map over that of the true error: {ratio:.2f} "
        f"(geometric mean over pictures). A factor of {CALIBRATED:g} counts as wrong.",
        answer=answers[verdict],
        interval=ratio,
        data=f"{len(true)} pictures, noise {race.settings['watched']:g}, ratio",
        figure="fig-yi-uncertainty",
    )


def without_truth(race: Results) -> Claim:
    """Stein's estimate tells how much each method gains over the noisy pictures."""
    estimated = race.grid("method", "picture", measure="estimated psnr")
    names = race.labels("method", measure="estimated psnr")
    where = {"measure": "psnr", "level": race.settings["watched"]}
    true = np.stack([race.grid("picture", method=m, **where) for m in names])
    off = {m: mean_interval(np.abs(e - t)) for m, e, t in zip(names, estimated, true)}
    found = ["supported" if i.below(SEEN) else "not supported" if i.above(SEEN)
             else "inconclusive" for i in off.values()]  # fmt: skip
    verdict = combine(found)
    worst = max(off, key=lambda m: off[m].mean)
    answers = {
        "supported": "Yes: the error without truth is within half a decibel, for every method.",
        "depends": "The error without truth is within half a decibel for some methods.",
        "not supported": "No: the error without truth is off by more than half a decibel.",
        "inconclusive": "Undecided: the error without truth may be off by half a decibel.",
    }
    return Claim(
        "images-without-truth",
        verdict,
        f"Stein's estimate of the PSNR differs most for {worst}: by {off[worst]:.2f} dB "
        "(mean over pictures).",
        answer=answers[verdict],
        interval=off[worst],
        data=f"{len(true[0])} pictures, noise {race.settings['watched']:g}, dB",
        figure="fig-yi-without",
    )


def level_found(levels: Results) -> Claim:
    """The level of a folder is found, at every true level."""
    found = {}
    for level in levels.labels("level", measure="folder"):
        ratio = mean_interval(levels.grid("draw", measure="folder", level=level))
        found[level] = ratio
    inside = {v: i.above(1 - WITHIN) and i.below(1 + WITHIN) for v, i in found.items()}
    outside = {v: i.below(1 - WITHIN) or i.above(1 + WITHIN) for v, i in found.items()}
    verdict = combine(
        "supported" if inside[v] else "not supported" if outside[v] else "inconclusive"
        for v in found
    )
    good = ", ".join(f"{v:g}" for v in found if inside[v])
    answers = {
        "supported": "Yes: the noise level of a folder is found within a tenth.",
        "depends": f"The noise level is found within a tenth only where it is {good}.",
        "not supported": "No: the noise level is missed by more than a tenth.",
        "inconclusive": "Undecided: the noise level may be missed by more than a tenth.",
    }
    worst = max(found, key=lambda v: abs(found[v].mean - 1))
    told = ", ".join(f"{v:g}: {i.mean:.3f}" for v, i in found.items())
    return Claim(
        "images-level",
        verdict,
        f"Estimated over true noise level, by level: {told}.",
        answer=answers[verdict],
        interval=found[worst],
        seeds=levels.settings["draws"],
        data=f"{levels.settings['pictures']} pictures, ratio at noise {worst:g}",
        figure="fig-yi-levels",
    )


def over_bm3d(
    identifier: str, record: Results | None, what: str, smallest: float, note: str = ""
) -> Claim:
    """Against BM3D with the true level, from a record of ten minutes."""
    if record is None or BM3D not in record.labels("method"):
        return Claim(
            identifier, "not tested", "There is no record of the long run yet.",
            answer="Not tested: the long run is not recorded yet.",
        )  # fmt: skip
    gain = gains(record, BM3D)
    if smallest > 0:
        verdict = decide(gain, smallest)
    else:  # at least level: the whole interval above -EVEN
        verdict = "supported" if gain.above(smallest) else (
            "not supported" if gain.below(smallest) else "inconclusive"
        )  # fmt: skip
    wins = np.mean(record.grid("picture", method=OURS) > record.grid("picture", method=BM3D))
    answers = {
        "supported": f"Yes: on {what} it is {'above' if smallest > 0 else 'level with'} BM3D.",
        "not supported": f"No: on {what} it is {'not above' if smallest > 0 else 'below'} BM3D.",
        "inconclusive": f"Undecided: on {what} it may be below BM3D.",
    }
    return Claim(
        identifier,
        verdict,
        f"PSNR minus that of BM3D with the true noise level: {gain:.2f} dB; above it on "
        f"{wins:.0%} of the pictures, after {record.facts['steps']:,} steps. {abs(smallest):g} dB "
        f"{'above it count' if smallest > 0 else 'below it still count as level'}.{note}",
        answer=answers[verdict],
        interval=gain,
        data=f"{len(record.labels('picture'))} {what}, noise {record.settings['sigma']:g}, dB",
        provenance=record.line,
    )


def _count(results: Results) -> int:
    return len(results.labels("picture", measure="psnr"))


def judge(
    race: Results,
    losses: Results,
    levels: Results,
    many: Results | None = None,
    one: Results | None = None,
    sky: Results | None = None,
) -> Claims:
    """All claims, from results; the last three are records of the long run."""
    return Claims([
        over_filters(race),
        over_noise2self(losses),
        adds(race, many, {"pieces of one photograph": one, "pieces of the sky": sky}),
        over_bm3d("images-over-bm3d", many, "different pictures", -EVEN),
        over_bm3d("images-one-kind", one, "pieces of one photograph", EVEN),
        over_bm3d("images-sky", sky, "pieces of the sky", EVEN, GRAIN),
        level_found(levels),
        without_truth(race),
        uncertainty(race),
    ])  # fmt: skip


def verdicts(session: Session) -> Claims:
    """Run what they rest on, or take it from memory, and judge."""
    results = [session.run(e) for e in (Race, Losses, Levels)]
    records = (session.records(e).there().values() for e in (ManyPictures, OnePhotograph, OneSky))
    return judge(*results, *(next(iter(there), None) for there in records))
