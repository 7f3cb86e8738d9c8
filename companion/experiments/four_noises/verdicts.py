"""What chapter 5 concludes about its five predictions: one rule a claim."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from companion.experiments.claims import Claim, Claims
from companion.experiments.four_noises.comparisons import (
    averaged,
    budgets,
    factor,
    gain,
    image_gain,
    image_interaction,
    image_widths,
    interactions,
    pair_gains,
    shown_budget,
    widths,
)
from companion.experiments.four_noises.digits import PredictedWidths
from companion.experiments.four_noises.images import ImagePairs
from companion.experiments.four_noises.pairs import AllPairs
from companion.experiments.four_noises.sampling import PICARD_LEVELS, SAMPLERS
from companion.experiments.results import Results
from companion.experiments.session import Session
from companion.statistics import grade

WIDTH_MISS = 0.25
"""Miss of the calculated log width, over its standard deviation, that counts as small."""
SHIFT_MISS = 0.5
"""Miss of the calculated shift, over the largest shift, that counts as small."""
IN_SEQUENCE = [s for s in SAMPLERS if s not in ("ddim", "picard")]
"""Samplers that are compared with DDIM and take one evaluation after the other."""

Told = Mapping[str, Results | None]
"""Records of the image experiment by their titles."""


def verdicts(session: Session) -> Claims:
    """Run what the claims rest on, or take it from memory, and apply all rules."""
    pairs, predicted = session.run(AllPairs), session.run(PredictedWidths)
    images = session.records(ImagePairs)
    return Claims(
        [
            widths_add(pairs, predicted, images),
            perturbation_and_steps(pairs, images),
            contrastive_off_path(pairs, images),
            noisy_data_hide_samplers(pairs, images),
            pairs_of_objectives(pairs, images),
        ]
    )


# --- the predictions -----------------------------------------------------------------------------


def widths_add(pairs: Results, predicted: Results, images: Told) -> Claim:
    """The log width is the sum of the parts of objective and sampler."""
    wide = widths(pairs, predicted)
    largest = float(wide.calculated_shift.max())
    near = wide.miss < WIDTH_MISS * wide.std
    verdict = grade(near and wide.shift_miss < SHIFT_MISS * largest, near)
    answers = {
        "supported": "Yes: widths and their shift by extra noise are calculated before training.",
        "supported in part": "Widths are calculated well; their shift by extra noise is not.",
        "not supported": "No: the calculated widths are far from those that were measured.",
    }
    return Claim(
        "meet-widths-add",
        verdict,
        f"Over samplers and budgets the log width has a standard deviation of {wide.std:.2f}, "
        f"and the calculation misses it by {wide.miss:.3f}. The shift by input perturbation, "
        f"{largest:.3f} at most, is missed by {wide.shift_miss:.3f} at most."
        + _on_images(images, _widths_on_images),
        answer=answers[verdict],
        effect=wide.miss,
        seeds=_seeds(pairs),
        data="digits, root mean square miss of the log width",
        figure="fig-fn-predicted",
    )


def perturbation_and_steps(pairs: Results, images: Told) -> Claim:
    """Input perturbation helps few DDIM or DDPM steps, and not gradient estimation."""
    listed, effects = budgets(pairs), interactions(pairs)
    with_ge = {n: effects["digits", "perturbed", "gradient_estimation", n] for n in listed}
    gains = {
        (sampler, n): gain(pairs, "digits", ("perturbed", sampler), n, comparisons=2 * len(listed))
        for sampler in ("ddim", "ddpm")
        for n in listed
    }
    helped = [interval.below(0) for interval in gains.values()]
    cancelled = [interval.above(0) for interval in with_ge.values()]
    fewest = gains["ddim", listed[0]]
    verdict = grade(fewest.below(0) and all(cancelled), any(helped) or any(cancelled))
    answers = {
        "supported": "Yes: extra noise helps few DDIM steps, and cancels with gradient estimation.",
        "supported in part": "Only a part: some of the gains and cancellations were there.",
        "not supported": "No: extra noise neither helped few steps nor cancelled.",
    }
    return Claim(
        "meet-perturbation-and-steps",
        verdict,
        f"Input perturbation improved {sum(helped)} of {len(helped)} DDIM and DDPM budgets; with "
        f"gradient estimation its gain over that with DDIM cancels at {sum(cancelled)} of "
        f"{len(cancelled)} budgets. With {listed[0]} DDIM steps the Fréchet distance is "
        f"{factor(fewest)} of that of plain training." + _on_images(images, _perturbed_on_images),
        answer=answers[verdict],
        interval=with_ge[shown_budget(pairs)].exp(),
        seeds=_seeds(pairs),
        data=f"digits, interaction with gradient estimation, N = {shown_budget(pairs)}",
        figure="fig-fn-interaction",
    )


def contrastive_off_path(pairs: Results, images: Told) -> Claim:
    """The contrastive loss helps Picard iteration before it converges, and nothing else."""
    listed, effects = budgets(pairs), interactions(pairs)
    early = [n for n in listed if n < PICARD_LEVELS]
    shows = [effects["digits", "contrastive", "picard", n].below(0) for n in early]
    elsewhere = [
        effects["digits", "contrastive", s, n].below(0) for s in IN_SEQUENCE for n in listed
    ]
    alone = gain(
        pairs, "digits", ("contrastive", "picard"), early[0], ("denoising", "picard"),
        2 * len(SAMPLERS),
    )  # fmt: skip
    verdict = grade(all(shows) and not any(elsewhere), any(shows))
    answers = {
        "supported": "Yes: it helps parallel sampling that has not converged, and nothing else.",
        "supported in part": "Only in part: not at every depth, or elsewhere as well.",
        "not supported": "No: it does not help parallel sampling more than other samplers.",
    }
    return Claim(
        "meet-contrastive-off-path",
        verdict,
        f"With Picard iteration it helps more than with DDIM at {sum(shows)} of {len(shows)} "
        f"budgets before convergence; elsewhere in {sum(elsewhere)} of {len(elsewhere)} cells. "
        f"Taken alone, after {early[0]} rounds, its Fréchet distance is {factor(alone)} of that "
        "of plain training at equal evaluations." + _on_images(images, _contrastive_on_images),
        answer=answers[verdict],
        interval=effects["digits", "contrastive", "picard", early[0]].exp(),
        seeds=_seeds(pairs),
        data=f"digits, interaction with Picard iteration, {early[0]} rounds",
        figure="fig-fn-interaction",
    )


def noisy_data_hide_samplers(pairs: Results, images: Told) -> Claim:
    """For ambient networks better samplers gain less than for plain ones."""
    listed, effects = budgets(pairs), interactions(pairs)
    late, shown = listed[1:], shown_budget(pairs)
    hidden = [
        effects["digits", training, sampler, n].above(0)
        for training in ("ambient low", "ambient high")
        for sampler in ("heun", "gradient_estimation")
        for n in late
    ]
    verdict = grade(all(hidden), any(hidden))
    answers = {
        "supported": "Yes: trained on noisy data, networks gain less from better samplers.",
        "supported in part": "With some samplers and budgets, not with all.",
        "not supported": "No: better samplers gain as much as on clean data.",
    }
    return Claim(
        "meet-noisy-data-hide-samplers",
        verdict,
        f"For ambient networks, Heun and gradient estimation gain less over DDIM than they do for "
        f"plain training in {sum(hidden)} of {len(hidden)} cells at "
        f"{' and '.join(map(str, late))} evaluations." + _on_images(images, _noisy_on_images),
        answer=answers[verdict],
        interval=effects["digits", "ambient high", "gradient_estimation", shown].exp(),
        seeds=_seeds(pairs),
        data=f"digits, interaction with gradient estimation, N = {shown}",
        figure="fig-fn-interaction",
    )


def pairs_of_objectives(pairs: Results, images: Told) -> Claim:
    """Perturbation with the contrastive loss is not better than the better of the two."""
    gains, shown = pair_gains(pairs), shown_budget(pairs)
    better = [interval.below(0) for interval in gains.values()]
    verdict = grade(not any(better), sum(better) < len(better) // 2)
    answers = {
        "supported": "Yes: together the two objectives never beat the better of them here.",
        "supported in part": "In most settings; in some the pair is better.",
        "not supported": "No: the pair is often better than either half.",
    }
    return Claim(
        "meet-pairs",
        verdict,
        f"Perturbation with contrastive training beat the better of the two in {sum(better)} of "
        f"{len(better)} cells of both problems." + _on_images(images, _pairs_on_images),
        answer=answers[verdict],
        interval=gains["digits", "ddim", shown].exp(),
        seeds=_seeds(pairs),
        data=f"digits, over the better half, DDIM, N = {shown}",
        figure="fig-fn-all",
    )


# --- what image records say of them ---------------------------------------------------------------


def _on_images(images: Told, says: Callable[[Results], str]) -> str:
    """What each record says, as sentences to add to the evidence; nothing without a record."""
    return "".join(
        f" {title}, {record.settings['seeds']} seeds: {says(record)}."
        for title, record in images.items()
        if record is not None
    )


def _widths_on_images(record: Results) -> str:
    wide = image_widths(record)
    if wide is None:
        return "the log width was not measured"
    return (
        f"the log width has a standard deviation of {wide.std:.2f}, the calculation misses it by "
        f"{wide.miss:.3f}, and the shift by {wide.shift_miss:.3f} at most"
    )


def _perturbed_on_images(record: Results) -> str:
    listed = budgets(record)
    ddim, ddpm = (
        averaged([image_gain(record, "perturbed", s, listed[0])]) for s in ("ddim", "ddpm")
    )
    both = averaged(
        [image_interaction(record, "perturbed", "gradient_estimation", n) for n in listed]
    )
    return (
        f"with {listed[0]} steps the distance is {ddim} of that of plain training for DDIM and "
        f"{ddpm} for DDPM; the interaction with gradient estimation is {both}"
    )


def _contrastive_on_images(record: Results) -> str:
    early = [n for n in budgets(record) if n < PICARD_LEVELS]
    there, alone = (
        averaged([of(record, "contrastive", "picard", n) for n in early])
        for of in (image_interaction, image_gain)
    )
    elsewhere = averaged(
        [
            image_interaction(record, "contrastive", s, n)
            for s in IN_SEQUENCE
            for n in budgets(record)
        ]
    )
    return (
        f"with Picard iteration that has not converged the interaction is {there} and the "
        f"distance {alone} of that of plain training; over the other samplers the interaction is "
        f"{elsewhere}"
    )


def _noisy_on_images(record: Results) -> str:
    late = budgets(record)[1:] or budgets(record)
    heun, ge = (
        averaged([image_interaction(record, "ambient high", s, n) for n in late])
        for s in ("heun", "gradient_estimation")
    )
    return (
        f"the interaction of ambient training is {heun} with Heun and {ge} with gradient estimation"
    )


def _pairs_on_images(record: Results) -> str:
    places = [
        (s, n)
        for s in SAMPLERS
        for n in budgets(record)
        if np.isfinite(image_gain(record, "both", s, n)).all()
    ]
    gains = {
        t: [image_gain(record, t, s, n) for s, n in places]
        for t in ("both", "perturbed", "contrastive")
    }
    if not places or not np.isfinite(list(gains.values())).all():
        return "the pair was not measured"
    half = min(("perturbed", "contrastive"), key=lambda t: float(np.mean(gains[t])))
    over = averaged([both - one for both, one in zip(gains["both"], gains[half])])
    return (
        f"over all samplers and budgets the distance of the pair is {over} of that of its better "
        f"half, {record.facts['labels'][half]}"
    )


def _seeds(results: Results) -> int:
    return int(results.table["seed"].nunique())
