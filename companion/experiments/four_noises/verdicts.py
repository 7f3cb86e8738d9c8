"""What chapter 5 concludes about its five predictions: one rule a claim.

A sentence with two halves is two claims. What is better or worse is so by 5 % at least, against
plain training with the same sampler and as many evaluations.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from companion import plotting
from companion.experiments.claims import Claim, Claims
from companion.experiments.four_noises.comparisons import (
    Widths,
    all_logs,
    budgets,
    lost_gain,
    over_better_half,
    same_sampler,
    widths,
)
from companion.experiments.four_noises.digits import PredictedWidths
from companion.experiments.four_noises.grading import (
    BETTER,
    EQUAL,
    NOT_BETTER,
    WORSE,
    Effects,
    Place,
    equal,
    name,
    power,
    under,
)
from companion.experiments.four_noises.images import ImagePairs
from companion.experiments.four_noises.on_images import (
    Told,
    contrastive_on_images,
    elsewhere_on_images,
    gradient_on_images,
    noisy_on_images,
    on_images,
    pairs_on_images,
    perturbed_on_images,
    widths_on_images,
)
from companion.experiments.four_noises.pairs import AllPairs
from companion.experiments.four_noises.sampling import PICARD_LEVELS, SAMPLERS
from companion.experiments.results import Results
from companion.experiments.session import Session
from companion.statistics import Interval, ratio_interval

__all__ = ["verdicts"]

MISS = 0.25
"""Miss of the calculated log width, over its standard deviation, that counts as small: 94 % of the
variance over samplers and budgets is then explained."""
SHIFT = 1.25
"""Factor between the measured and the calculated shift that counts as a wrong calculation."""
PROBLEMS = ("points", "digits")
BETTER_SAMPLERS = ("heun", "gradient_estimation")
"""Samplers of second order, which are better than DDIM where steps are not too coarse."""
AMBIENT = {
    "low noise": "ambient low", "high noise": "ambient high", "with consistency": "consistent high",
}  # fmt: skip
"""Ways to train on noisy data whose noise is known, without and with consistency."""
OBJECTIVES = {
    "perturbation + contrastive": ("both", ("perturbed", "contrastive")),
    "ambient + consistency": ("consistent high", ("ambient high",)),
}
"""Pairs of objectives and their halves. Consistency alone learns nothing: it sees no data."""

SEEDS = "A seed has its own network and noise; the data set is that of its master seed."


def verdicts(session: Session) -> Claims:
    """Run what the claims rest on, or take it from memory, and apply all rules."""
    pairs = session.run(AllPairs)
    wide = widths(pairs, session.run(PredictedWidths))
    images = session.records(ImagePairs)
    return Claims(
        [
            widths_add(wide, images),
            widths_sampler(wide),
            widths_objective(wide),
            perturbation_and_steps(pairs, images),
            perturbation_and_gradient(pairs, images),
            contrastive_off_path(pairs, images),
            contrastive_elsewhere(pairs, images),
            noisy_data_hide_samplers(pairs, images),
            pairs_of_objectives(pairs, images),
        ]
    )


# --- widths, on digits ---------------------------------------------------------------------------


def widths_add(wide: Widths, images: Told) -> Claim:
    """The shift of the log width by the objective is the same with every sampler."""
    sums, shifts = wide.sums(), [shift.mean for shift in wide.shifts]
    small = ", all within the tolerance" if max(map(abs, shifts)) < np.log(1.05) else ""
    effects = Effects({(_sampler(s), f"N={n}"): i for (s, n), i in sums.items()}, EQUAL)
    answers = {
        "supported": "Yes, on digits, to 5 %; but the whole widening is smaller than that."
        if small
        else "Yes, on digits: the log width is a sum of both parts, to 5 %.",
        "depends": "On digits the sum holds",
        "not supported": "No: on digits the widening by extra noise differs between samplers.",
        "inconclusive": "Undecided: on digits the sum may be wrong by 5 % of the width.",
    }
    return Claim(
        "meet-widths-add",
        effects.verdict,
        "Widening by input perturbation with a sampler, over that with DDIM and as many "
        f"evaluations, as a factor of the width. {effects.told} A factor within 5 % of 1 is a sum. "
        f"The widening itself is {min(shifts):+.3f} to {max(shifts):+.3f} in the log width{small}. "
        f"{SEEDS}" + on_images(images, widths_on_images),
        answer=effects.answer(answers),
        **_deciding(effects, "digits"),
        figure="fig-fn-predicted",
    )


def widths_sampler(wide: Widths) -> Claim:
    """The log width of plainly trained networks is the calculated one."""
    miss = wide.miss_ratio
    verdict = under(miss, MISS)
    answers = {
        "supported": "Yes, on digits: the calculation gives the width for each sampler and budget.",
        "not supported": "No: on digits the calculation misses much of what samplers differ by.",
        "inconclusive": "Undecided: on digits the calculation is neither clearly near nor far.",
    }
    return Claim(
        "meet-widths-sampler",
        verdict,
        f"Miss of the calculated log width (root mean square over samplers and budgets, plain "
        f"training), over the standard deviation of the measured one: {miss:.2f}. Below {MISS:g} "
        f"it counts as small. The standard deviation is {wide.std:.2f}."
        + power(miss, verdict, MISS),
        answer=answers[verdict],
        interval=miss,
        seeds=miss.n,
        data="digits, relative miss of the log width",
        figure="fig-fn-predicted",
    )


def widths_objective(wide: Widths) -> Claim:
    """What input perturbation adds to the log width is what was calculated."""
    slope = wide.shift_slope
    verdict = equal(slope, SHIFT)
    shifts, measured = wide.calculated_shift, [shift.mean for shift in wide.shifts]
    answers = {
        "supported": "Yes, on digits: extra noise widens samples by what was calculated.",
        "not supported": "No: on digits extra noise does not widen samples by what was calculated.",
        "inconclusive": "Undecided: on digits the widening may or may not be the calculated one.",
    }
    return Claim(
        "meet-widths-objective",
        verdict,
        f"Slope of the measured on the calculated shifts of the log width by input perturbation, "
        f"over samplers and budgets: {slope:.2f}. 1 is exact; a factor of {SHIFT:g} counts as "
        f"wrong. Calculated are {shifts.min():.3f} to {shifts.max():.3f}, measured "
        f"{min(measured):.3f} to {max(measured):.3f}." + power(slope, verdict, SHIFT - 1),
        answer=answers[verdict],
        interval=slope,
        seeds=slope.n,
        data="digits, slope of measured on calculated shifts",
        figure="fig-fn-predicted",
    )


# --- the other predictions, on points and digits --------------------------------------------------


def perturbation_and_steps(pairs: Results, images: Told) -> Claim:
    """Input perturbation makes few DDIM and few DDPM steps better."""
    few, by_place = budgets(pairs)[0], all_logs(pairs)
    effects = Effects(
        _factors(
            {
                (data, _sampler(s)): same_sampler(by_place, data, "perturbed", [(s, few)])
                for data in PROBLEMS
                for s in ("ddim", "ddpm")
            }
        ),
        BETTER,
    )
    answers = {
        "supported": f"Yes: with {few} steps of DDIM or DDPM extra noise helps.",
        "depends": f"Extra noise helps at {few} steps",
        "not supported": f"No: with {few} steps of DDIM or DDPM extra noise helps neither.",
        "inconclusive": f"Undecided: with {few} steps extra noise may help somewhere.",
    }
    return Claim(
        "meet-perturbation-and-steps",
        effects.verdict,
        f"Distance after input perturbation over that after plain training, with the same sampler "
        f"and {few} steps. {effects.told} {_length(pairs)}"
        + on_images(images, perturbed_on_images),
        answer=effects.answer(answers),
        **_deciding(effects),
        figure="fig-fn-interaction",
    )


def perturbation_and_gradient(pairs: Results, images: Told) -> Claim:
    """Input perturbation does not make gradient estimation better."""
    by_place, sampler = all_logs(pairs), "gradient_estimation"
    effects = Effects(
        _factors(
            {
                (data, f"N={n}"): same_sampler(by_place, data, "perturbed", [(sampler, n)])
                for data in PROBLEMS
                for n in budgets(pairs)
            }
        ),
        NOT_BETTER,
    )
    answers = {
        "supported": "Yes: extra noise never makes gradient estimation better here.",
        "depends": "Gradient estimation gains nothing from extra noise",
        "not supported": "No: extra noise makes gradient estimation better.",
        "inconclusive": "Undecided: extra noise may make gradient estimation better somewhere.",
    }
    return Claim(
        "meet-perturbation-and-gradient",
        effects.verdict,
        "Distance after input perturbation over that after plain training, both with gradient "
        f"estimation. {effects.told} {_length(pairs)}" + on_images(images, gradient_on_images),
        answer=effects.answer(answers),
        **_deciding(effects),
        figure="fig-fn-interaction",
    )


def contrastive_off_path(pairs: Results, images: Told) -> Claim:
    """The contrastive loss makes Picard iteration better that has not converged."""
    early, by_place = [n for n in budgets(pairs) if n < PICARD_LEVELS], all_logs(pairs)
    effects = Effects(
        _factors(
            {
                (data, f"{n} rounds"): same_sampler(by_place, data, "contrastive", [("picard", n)])
                for data in PROBLEMS
                for n in early
            }
        ),
        BETTER,
    )
    answers = {
        "supported": "Yes: contrastive training helps parallel sampling that has not converged.",
        "depends": "Contrastive training helps unconverged parallel sampling",
        "not supported": "No: contrastive training does not help unconverged parallel sampling.",
        "inconclusive": "Undecided: contrastive training may help unconverged parallel sampling.",
    }
    return Claim(
        "meet-contrastive-off-path",
        effects.verdict,
        "Distance after contrastive over that after plain training at equal evaluations, both "
        f"with Picard iteration. {effects.told} {_length(pairs)}"
        + on_images(images, contrastive_on_images),
        answer=effects.answer(answers),
        **_deciding(effects),
        figure="fig-fn-all",
    )


def contrastive_elsewhere(pairs: Results, images: Told) -> Claim:
    """The contrastive loss makes no other sampler better."""
    by_place = all_logs(pairs)
    effects = Effects(
        _factors(
            {
                (data, _sampler(s)): same_sampler(
                    by_place, data, "contrastive", [(s, n) for n in budgets(pairs)]
                )
                for data in PROBLEMS
                for s in SAMPLERS
                if s != "picard"
            }
        ),
        NOT_BETTER,
    )
    answers = {
        "supported": "Yes: contrastive training makes no sequential sampler better here.",
        "depends": "Contrastive training helps no sequential sampler",
        "not supported": "No: contrastive training makes sequential samplers better, too.",
        "inconclusive": "Undecided: contrastive training may make a sequential sampler better.",
    }
    return Claim(
        "meet-contrastive-elsewhere",
        effects.verdict,
        "Distance after contrastive over that after plain training at equal evaluations, with the "
        f"same sampler, averaged over {_budgets(budgets(pairs))} within each seed. {effects.told} "
        f"{_length(pairs)}" + on_images(images, elsewhere_on_images),
        answer=effects.answer(answers),
        **_deciding(effects),
        figure="fig-fn-all",
    )


def noisy_data_hide_samplers(pairs: Results, images: Told) -> Claim:
    """For ambient networks, with and without consistency, better samplers gain less."""
    by_place, late = all_logs(pairs), budgets(pairs)[1:]
    cells = [(s, n) for s in BETTER_SAMPLERS for n in late]
    effects = Effects(
        _factors(
            {
                (data, label): lost_gain(by_place, data, training, cells)
                for data in PROBLEMS
                for label, training in AMBIENT.items()
            }
        ),
        WORSE,
    )
    answers = {
        "supported": "Yes: on noisy data better samplers gain less, with and without consistency.",
        "depends": "Noisy data hide what samplers gain",
        "not supported": "No: better samplers gain as much with noisy data as with clean.",
        "inconclusive": "Undecided: better samplers may gain less with noisy data.",
    }
    return Claim(
        "meet-noisy-data-hide-samplers",
        effects.verdict,
        "Distance of Heun and gradient estimation over that of DDIM, on noisy data over clean "
        f"data. Above 1 their gain is lost. It is averaged over both and {_budgets(late)} within "
        f"each seed. {effects.told} Each network takes its own schedule. {_length(pairs)}"
        + on_images(images, noisy_on_images),
        answer=effects.answer(answers),
        **_deciding(effects),
        figure="fig-fn-interaction",
    )


def pairs_of_objectives(pairs: Results, images: Told) -> Claim:
    """A pair of objectives is not better than the better of the two."""
    by_place, listed = all_logs(pairs), budgets(pairs)

    def over(data: str, pair: str, halves: tuple[str, ...]) -> np.ndarray:
        cells = [(s, n) for s in SAMPLERS for n in listed if (data, pair, s, n) in by_place]
        return over_better_half(by_place, data, pair, halves, cells)

    effects = Effects(
        _factors(
            {
                (data, label): over(data, pair, halves)
                for data in PROBLEMS
                for label, (pair, halves) in OBJECTIVES.items()
            }
        ),
        NOT_BETTER,
    )
    answers = {
        "supported": "Yes: at equal evaluations neither pair beats its better half.",
        "depends": "A pair is not better than its half",
        "exception": "A pair of objectives beats its better half",
        "not supported": "No: pairs of objectives beat their better half at equal evaluations.",
        "inconclusive": "Undecided: a pair of objectives may beat its better half.",
    }
    return Claim(
        "meet-pairs",
        effects.verdict,
        "Distance of a pair over that of its better half, which the other seeds choose, averaged "
        f"over samplers and {_budgets(listed)} within each seed. {effects.told} For ambient "
        "+ consistency the half is ambient training: consistency alone sees no data. "
        f"{_length(pairs)}" + on_images(images, pairs_on_images),
        answer=effects.answer(answers),
        **_deciding(effects),
        figure="fig-fn-all",
    )


def _factors(logs: Mapping[Place, np.ndarray]) -> dict[Place, Interval]:
    """Return intervals of factors from logarithms of each seed; all hold together."""
    return {k: ratio_interval(np.exp(v), comparisons=len(logs)) for k, v in logs.items()}


def _deciding(effects: Effects, problem: str = "") -> dict:
    place = effects.deciding
    interval = effects.factors[place]
    where = f"{problem}, {name(place)}" if problem else name(place)
    return {"interval": interval, "seeds": interval.n, "data": f"{where}: factor that decides"}


def _sampler(sampler: str) -> str:
    return plotting.method(sampler)["label"]


def _budgets(listed: list[int]) -> str:
    return f"N = {', '.join(map(str, listed))}"


def _length(pairs: Results) -> str:
    told = "; ".join(f"{name}: {text}" for name, text in pairs.facts["length"].items())
    return f"Training, {told}. {SEEDS}"
