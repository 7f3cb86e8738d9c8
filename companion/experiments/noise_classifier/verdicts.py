"""What chapter 3 concludes: one rule a claim."""

from __future__ import annotations

from collections.abc import Mapping

from companion.experiments.claims import Claim, Claims
from companion.experiments.noise_classifier.comparisons import (
    all_cases,
    best_accuracy,
    cases,
    counts,
    entropy_differences,
    finite,
    good_after,
    is_finite,
    kind_name,
    kind_ratios,
    mean_ratio,
    tally,
    within,
    worse_off,
)
from companion.experiments.noise_classifier.continuations import (
    CONTRASTIVE,
    CONTROLS,
    SAME_COST,
    SAME_STEPS,
)
from companion.experiments.noise_classifier.digits import DigitSamples, DigitTest
from companion.experiments.noise_classifier.images import ImageContrast
from companion.experiments.noise_classifier.picard import ExactPicard
from companion.experiments.noise_classifier.points import DATA
from companion.experiments.noise_classifier.ratio import Accuracy, SecretClassifier
from companion.experiments.noise_classifier.regions import (
    OFF_REGION,
    TRAINED_REGION,
    LaterErrors,
    RegionErrors,
    Visits,
)
from companion.experiments.noise_classifier.samples import (
    EXACT,
    ParallelSamples,
    SequentialSamples,
)
from companion.experiments.results import Results
from companion.experiments.session import Session
from companion.statistics import Interval, grade

WORSE_OFF = 2.0
"""Times the error of the training distribution from which a denoiser is poor off it."""
LEAVES = 0.25
"""Share of a sampler's states off the distribution from which it 'inevitably' goes there."""
VISITS_MORE = 2.0
"""Times the share of sequential samplers from which Picard iteration goes there more."""
BLOW_UP = 3.0
"""Size of states over that of the start from which an exact denoiser blows up too."""
NATS = 0.1
"""Median error of the ratio that counts as right."""
AREA = 0.02
"""Distance to the area under the curve of the Bayes classifier that counts as none."""

Told = Mapping[str, Results | None]
"""Records of the image experiment by their titles."""


def verdicts(session: Session) -> Claims:
    """Run what the claims rest on, or take it from memory, and apply all rules."""
    accuracy, classifier = session.run(Accuracy), session.run(SecretClassifier)
    errors, later, visits = (session.run(e) for e in (RegionErrors, LaterErrors, Visits))
    picard, test = session.run(ExactPicard), session.run(DigitTest)
    parallel, sequential = session.run(ParallelSamples), session.run(SequentialSamples)
    digits, images = session.run(DigitSamples), session.records(ImageContrast)
    return Claims(
        [
            ood(errors, visits),
            parallel_ood(visits, picard, parallel),
            objective(errors, later),
            ratio(accuracy, classifier),
            samplers(sequential, parallel, digits, images),
            disguise(accuracy, classifier),
            distinguish(test, images),
            density(accuracy, errors),
            predicts_level(),
            consistently(sequential, parallel, digits),
        ]
    )


# --- the abstract --------------------------------------------------------------------------------


def ood(errors: Results, visits: Results) -> Claim:
    """Poor off the distribution, and samplers go there inevitably."""
    times = worse_off(errors)
    leaves = visits.where(measure="share off", kind="sequential")["value"].max()
    noised = visits.value(measure="share off", kind="training")
    poor = min(times.values()) > WORSE_OFF
    verdict = grade(poor and leaves > LEAVES, poor)
    answers = {
        "supported": "Yes: the denoiser is poor off the distribution, and samplers go there.",
        "supported in part": "Poor there, yes; but sequential samplers seldom go there.",
        "not supported": "No: off the distribution the denoiser is not much worse.",
    }
    listed = ", ".join(f"{v:.0f} times ({name})" for name, v in times.items())
    return Claim(
        "classifier-ood",
        verdict,
        f"With more noise than admitted the error is {listed} that of points as in training. "
        f"Whether a sampler goes there depends on the sampler: of the states that sequential "
        f"samplers evaluate at most {leaves:.0%} lie beyond 999 of 1,000 noised data points "
        f"({noised:.1%} of noised data do).",
        answer=answers[verdict],
        effect=times["spirals"],
        seeds=_seeds(errors),
        data="spirals and dinosaur",
        figure="fig-nc-map",
    )


def parallel_ood(visits: Results, picard: Results, parallel: Results) -> Claim:
    """Parallel sampling goes off the distribution, and that is what makes it fail early."""
    leaves = visits.where(measure="share off", kind="sequential")["value"].max()
    share = visits.value(measure="share off", kind="Picard", by="plain", iteration=2)
    plain, semilinear = (
        float(picard.where(measure="size", sampler="DDPM", form=form)["value"].max())
        for form in ("plain", "semilinear")
    )
    more = share > VISITS_MORE * leaves
    verdict = grade(more and plain < BLOW_UP, more)
    answers = {
        "supported": "Yes: parallel sampling goes there, and an exact denoiser does not blow up.",
        "supported in part": "It goes there, but its blow-up comes with a perfect denoiser too.",
        "not supported": "No: parallel sampling hardly goes there more than other samplers.",
    }
    trained, exact = (good_after(parallel, "semilinear", m) for m in (SAME_STEPS, EXACT))
    return Claim(
        "classifier-parallel-ood",
        verdict,
        f"Of the states of Picard iteration's second iteration {share:.0%} lie off the "
        f"distribution. With the exact denoiser DDPM's states still grow to {plain:.0f} times the "
        f"start when the whole trajectory is iterated on, and the semilinear form, with no "
        f"training at all, keeps them {plain / semilinear:.0f} times smaller. What the network's "
        f"errors cost there: samples are good after {trained} iterations, with the exact denoiser "
        f"after {exact}.",
        answer=answers[verdict],
        effect=plain,
        data="spirals, exact denoiser",
        figure="fig-nc-blowup",
    )


def objective(errors: Results, later: Results) -> Claim:
    """The loss lowers errors off the distribution, at equal evaluations everywhere."""
    number = len(CONTROLS) * len(cases(errors, ("data", "region"), measure="error"))
    regions = [r for r in errors.labels("region") if r != TRAINED_REGION]
    off = cases(errors, ("data", "region"), measure="error", region=regions)
    steps, cost = (tally(off, control, number) for control in (SAME_STEPS, SAME_COST))
    verdict = grade(cost.better == len(off), steps.better > steps.worse)
    answers = {
        "supported": "Yes: smaller errors off the distribution, also at equal network evaluations.",
        "supported in part": "Here and there against equal steps; not throughout at equal cost.",
        "not supported": "No: plain denoising for as many steps does as well.",
    }
    where = {"measure": "error", "data": "spirals", "region": OFF_REGION}
    headline = tally([(errors, where)], SAME_COST, number).ratios[0]
    later_number = len(CONTROLS) * len(later.labels("region"))
    longer = tally([(later, where)], SAME_COST, later_number).ratios[0]
    return Claim(
        "classifier-objective",
        verdict,
        f"Against denoising for the same steps, the error off the distribution is smaller in "
        f"{steps.better} and larger in {steps.worse} of {len(off)} cases; for the same network "
        f"evaluations, smaller in {cost.better} and larger in {cost.worse}. After longer training, "
        f"at equal evaluations, the ratio on the spirals with more noise than admitted is "
        f"{_ratio(longer)}. Images have no exact denoiser to compare with.",
        answer=answers[verdict],
        interval=finite(headline),
        seeds=_seeds(errors),
        data="error over that of equal evaluations, spirals, more noise than admitted",
        figure="fig-nc-map",
    )


def ratio(accuracy: Results, classifier: Results) -> Claim:
    """A denoiser defines the ratio: it can be computed, and classifies as the Bayes classifier."""
    levels = within(accuracy, NATS)
    area, best = (classifier.value(measure="area", classifier=c) for c in ("denoiser", "Bayes"))
    off = classifier.value(measure="calibration error")
    verdict = grade(all(levels.values()) and abs(area - best) < AREA, any(levels.values()))
    answers = {
        "supported": "Yes: an exact denoiser gives the ratio as closely as one pays for.",
        "supported in part": "In part: not everywhere, or not as well as the Bayes classifier.",
        "not supported": "Not shown: no noise was within a tenth of a nat.",
    }
    listed = ", ".join(
        f"{4 * n} evaluations for t = {t:g}" if n else f"more than tried for t = {t:g}"
        for t, n in levels.items()
    )
    return Claim(
        "classifier-ratio",
        verdict,
        f"Within {NATS:g} nat (median) of the exact ratio at {listed}; area under the curve "
        f"{area:.3f}, of the Bayes classifier {best:.3f}; calibration error {off:.3f}. The terms "
        f"at noised points ask for levels below their noise.",
        answer=answers[verdict],
        **best_accuracy(accuracy),
        figure="fig-nc-ratio",
    )


def samplers(sequential: Results, parallel: Results, digits: Results, images: Told) -> Claim:
    """The loss improves samples, sequential and parallel, at equal evaluations."""
    listed = all_cases(sequential, parallel, digits)
    steps, cost = (counts(listed, control) for control in (SAME_STEPS, SAME_COST))
    every = [case for kind in listed for case in kind]
    mean = {c: mean_ratio(every, c, len(CONTROLS)) for c in CONTROLS}
    verdict = grade(
        cost[0] > len(every) // 2 and cost[1] == 0, cost[0] > cost[1] and steps[0] > steps[1]
    )
    answers = {
        "supported": "Yes: at equal cost most samples are better, and none is worse.",
        "supported in part": "In part: more settings get better than worse, against both controls.",
        "not supported": "No: plain denoising of equal steps or evaluations is at least as good.",
    }
    depth = {
        (name, form): int(
            parallel.value(measure="iterations", data=name, form=form, method=CONTRASTIVE)
            - parallel.value(measure="iterations", data=name, form=form, method=SAME_COST)
        )
        for name in DATA
        for form in ("plain", "semilinear")
    }
    return Claim(
        "classifier-samplers",
        verdict,
        f"Samples of {len(every)} settings, sequential and parallel, on points and digits: against "
        f"equal steps better in {steps[0]}, worse in {steps[1]}; against equal evaluations better "
        f"in {cost[0]}, worse in {cost[1]}. The mean ratio of distances against equal steps is "
        f"{_ratio(mean[SAME_STEPS])}. Picard iterations until the tolerance, against equal "
        f"evaluations: {', '.join(f'{v:+d} ({n}, {f})' for (n, f), v in depth.items())}. "
        f"{images_in_words(images)}",
        answer=answers[verdict],
        interval=finite(mean[SAME_COST]),
        seeds=_seeds(sequential),
        data="distance over that of equal evaluations, geometric mean of all settings",
        figure="fig-nc-depth",
    )


# --- the second-hand summary ---------------------------------------------------------------------


def disguise(accuracy: Results, classifier: Results) -> Claim:
    """A denoiser is a noise classifier: at best one can be built from it."""
    area, best = (classifier.value(measure="area", classifier=c) for c in ("denoiser", "Bayes"))
    verdict = grade(False, all(within(accuracy, NATS).values()))
    answers = {
        "supported in part": "One can be built from a denoiser; that is not what it is.",
        "not supported": "No: even the classifier built from one was not accurate here.",
    }
    return Claim(
        "classifier-disguise",
        verdict,
        "A classifier can be computed from a denoiser, exactly, by an integral over many of its "
        "answers at levels that one must choose. That is a likelihood test built from it, not what "
        "it is or does.",
        answer=answers[verdict],
        effect=area - best,
        data="ring, area under the curve less that of Bayes",
        figure="fig-nc-ratio",
    )


def distinguish(test: Results, images: Told) -> Claim:
    """The loss helps to tell clean from noised digits, at equal evaluations."""
    noises = [float(t) for t in test.labels("t")]
    differences = entropy_differences(test, len(noises))
    gains = {key: interval.below(0.0) for key, interval in differences.items()}
    verdict = grade(all(gains[t, SAME_COST] for t in noises), any(gains.values()))
    answers = {
        "supported": "Yes: held-out digits are told from noised ones better, at equal cost too.",
        "supported in part": "Only against some control or noise; not throughout at equal cost.",
        "not supported": "No: without the loss, noised digits are told apart as well.",
    }
    recorded = [
        f"U-Nets on {title}, from their record: "
        + _differences(entropy_differences(r, len(CONTROLS) * len(r.labels("t", measure="area"))))
        for title, r in images.items()
        if r is not None
    ]
    return Claim(
        "classifier-distinguish",
        verdict,
        "Cross entropy of telling held-out digits from noised ones, less that of the control: "
        + " ".join([_differences(differences), *(recorded or ["Images are not yet recorded."])]),
        answer=answers[verdict],
        interval=finite(differences[noises[0], SAME_COST]),
        seeds=_seeds(test),
        data=f"digits, nats, t = {noises[0]:g}, less that of equal evaluations",
    )


def density(accuracy: Results, errors: Results) -> Claim:
    """An optimal denoiser is a density estimator."""
    levels = within(accuracy, NATS)
    verdict = grade(all(levels.values()), any(levels.values()))
    answers = {
        "supported": "Yes, an exact one, as closely as one pays for; trained ones near data.",
        "supported in part": "In part: not everywhere with the evaluations that were tried.",
        "not supported": "Not shown: no noise was within a tenth of a nat.",
    }
    return Claim(
        "classifier-density",
        verdict,
        "For an optimal one it holds to any accuracy that one pays for (see chapter 0 and the "
        "table above). For a trained one only where it was trained: off the distribution its error "
        f"is {worse_off(errors)['spirals']:.0f} times as large on the spirals.",
        answer=answers[verdict],
        **best_accuracy(accuracy),
        figure="fig-nc-ratio",
    )


def predicts_level() -> Claim:
    """The network outputs a noise level: by its definition it does not."""
    return Claim(
        "classifier-predicts-level",
        "not supported",
        "Neither the paper's network nor ours outputs a level: the level is an input. The loss "
        "classifies by a ratio of two likelihoods that the denoiser implies.",
        answer="No: the noise level is an input of the network, not its output.",
        figure="fig-nc-ratio",
    )


def consistently(sequential: Results, parallel: Results, digits: Results) -> Claim:
    """The loss is better in every setting, at equal evaluations."""
    listed = all_cases(sequential, parallel, digits)
    better, worse = counts(listed, SAME_COST)
    total = sum(map(len, listed))
    verdict = grade(better == total, better > total // 2)
    answers = {
        "supported": "Yes: at equal cost it is better in every setting.",
        "supported in part": "At equal cost it is better in most settings, not in all.",
        "not supported": "No: at equal cost it is better in at most half of the settings.",
    }
    return Claim(
        "classifier-consistently",
        verdict,
        f"At equal evaluations better in {better} and worse in {worse} of {total} settings here. "
        "New domains are not tested, here or in the paper's abstract.",
        answer=answers[verdict],
        effect=better / total,
        seeds=_seeds(sequential),
        data="share of settings, points and digits",
        figure="fig-nc-depth",
    )


# --- what several rules need ---------------------------------------------------------------------


def images_in_words(images: Told) -> str:
    """Mean ratios of all image records."""
    lines = []
    for title, record in images.items():
        if record is None:
            continue
        ratios = kind_ratios(record)
        parts = [
            f"{kind_name(kind)}: to equal steps {_ratio(ratios[kind, SAME_STEPS])}, "
            f"to equal evaluations {_ratio(ratios[kind, SAME_COST])}"
            for kind in dict.fromkeys(kind for kind, _ in ratios)
        ]
        lines.append(
            f"U-Nets on {title} ({record.settings['seeds']} seeds, from their record), ratio of "
            f"Fréchet distances: {'; '.join(parts)}."
        )
    return " ".join(lines) or "Images are not yet recorded."


def _ratio(interval: Interval) -> str:
    return f"{interval:.3f}" if is_finite(interval) else "not finite"


def _differences(found: dict[tuple[float, str], Interval]) -> str:
    noises = dict.fromkeys(t for t, _ in found)
    parts = [
        f"t = {t:g}: equal steps {found[t, SAME_STEPS]}, equal evaluations {found[t, SAME_COST]}"
        for t in noises
    ]
    return "; ".join(parts) + "."


def _seeds(results: Results) -> int:
    return int(results.table["seed"].nunique())
