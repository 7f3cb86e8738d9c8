"""What chapter 3 concludes: one rule a claim."""

from __future__ import annotations

from companion.experiments.claims import Claim, Claims
from companion.experiments.noise_classifier.classifiers import LevelReading, TrainedClassifiers
from companion.experiments.noise_classifier.comparisons import (
    decide_each,
    tally,
)
from companion.experiments.noise_classifier.continuations import (
    CONTRASTIVE,
    SAME_COST,
    SAME_STEPS,
)
from companion.experiments.noise_classifier.digits import DigitNetworks, DigitSamples, DigitTest
from companion.experiments.noise_classifier.evidence import (
    claim,
    images_in_words,
    in_words,
    iteration_ratios,
    kinds_of_samples,
    levels_in_words,
    mean_ratios,
    more_visits,
    off_cases,
    off_ratios,
    short,
    steps_in_words,
    trajectories_off,
)
from companion.experiments.noise_classifier.images import ImageContrast
from companion.experiments.noise_classifier.picard import FORMS, ExactPicard
from companion.experiments.noise_classifier.points import PointNetworks
from companion.experiments.noise_classifier.ratio import Accuracy, SecretClassifier
from companion.experiments.noise_classifier.regions import LaterErrors, RegionErrors, Visits
from companion.experiments.noise_classifier.samples import (
    EXACT,
    ParallelSamples,
    SequentialSamples,
)
from companion.experiments.noise_classifier.second_hand import (
    LESS,
    NATS,
    Told,
    consistently,
    density,
    disguise,
    distinguish,
    predicts_level,
)
from companion.experiments.results import Results
from companion.experiments.session import Session

WORSE_OFF = 2.0
"""Times the error of the training distribution from which an estimate off it is poor."""
INEVITABLE = 0.5
"""Share of trajectories with a state off the distribution from which that is the rule."""
MANY = 0.1
"""Share of evaluations off the distribution, beyond that of steps in sequence, that is many."""
PROBLEM = 1.25
"""Times the iterations with the exact denoiser from which a network's errors are a problem."""
EARLY = 2
"""Iteration whose evaluations are counted: the first that no sampler would make."""


def verdicts(session: Session) -> Claims:
    """Run what the claims rest on, or take it from memory, and apply all rules."""
    accuracy, classifier = session.run(Accuracy), session.run(SecretClassifier)
    errors, later, visits = (session.run(e) for e in (RegionErrors, LaterErrors, Visits))
    picard, test = session.run(ExactPicard), session.run(DigitTest)
    parallel, sequential = session.run(ParallelSamples), session.run(SequentialSamples)
    digits, images = session.run(DigitSamples), session.records(ImageContrast)
    trained = session.run(TrainedClassifiers)
    claims = [
        ood(errors),
        inevitable(visits),
        parallel_ood(visits),
        problematic(parallel, picard),
        objective(errors, later),
        ratio(accuracy, classifier),
        ratio_ood(),
        samplers(sequential, parallel, digits, images),
        speed(parallel),
        disguise(trained),
        distinguish(test, trained, images),
        density(accuracy, errors),
        predicts_level(session.run(LevelReading)),
        consistently(sequential, parallel, digits),
    ]
    steps = steps_in_words(session.run(PointNetworks), session.run(DigitNetworks))
    return Claims(claims).noted(steps)


# --- the abstract --------------------------------------------------------------------------------


def ood(errors: Results) -> Claim:
    """The denoiser is poor off the distribution."""
    found = decide_each(off_ratios(errors), WORSE_OFF)
    return claim(
        "classifier-ood",
        found,
        {
            "supported": "Yes: given more noise than told, a denoiser errs at least twice as much.",
            "not supported": "No: given more noise than told, its error is less than twice as "
            "large.",
            "depends": f"Given more noise than told, its error doubles only on {found.where()}.",
            "inconclusive": "Not decided: given more noise than told, its error may double.",
        },
        f"Ratio of errors of the noise estimate, at points with more noise than the network is "
        f"told over points as in training: {found.listed}.",
        data="ratio of errors",
        results=errors,
        figure="fig-nc-map",
    )


def inevitable(visits: Results) -> Claim:
    """Sequential samplers go off the distribution on most of their trajectories."""
    found = decide_each(trajectories_off(visits), INEVITABLE, reference=0.0)
    noised = visits.values(measure="trajectories off", kind="training").mean()
    return claim(
        "classifier-inevitable",
        found,
        {
            "supported": "Yes: most trajectories of every step-by-step sampler leave the training "
            "distribution.",
            "not supported": "No: fewer than half of the trajectories leave the training "
            "distribution.",
            "depends": f"Most trajectories leave the training distribution only by "
            f"{found.where()}.",
            "inconclusive": "Not decided: the share of trajectories that leave may lie on either "
            "side of half.",
        },
        f"Share of trajectories with a state that is less likely than 999 of 1,000 noised data "
        f"points: {found.listed}. Of data with new noise at each level it is {noised:.2f}.",
        data="spirals, share of trajectories",
        results=visits,
    )


def parallel_ood(visits: Results) -> Claim:
    """Picard iteration evaluates off the distribution far more than the sampler that it solves."""
    found = decide_each(more_visits(visits, EARLY), MANY, reference=0.0)
    first = more_visits(visits, 1)["plain form"]
    return claim(
        "classifier-parallel-ood",
        found,
        {
            "supported": "Yes: early parallel iterations often evaluate off the training "
            "distribution, in both forms.",
            "not supported": "No: parallel sampling leaves the training distribution hardly more "
            "often than steps.",
            "depends": f"Parallel sampling often leaves the training distribution only in its "
            f"{found.where()}.",
            "inconclusive": "Not decided: parallel sampling may leave the training distribution "
            "more often.",
        },
        f"Share of evaluations off the distribution in iteration {EARLY}, less that of DDIM step "
        f"by step: {found.listed}. In iteration 1, which evaluates the start at every level: "
        f"{first:.3f}.",
        data="spirals, difference of shares",
        results=visits,
        figure="fig-nc-map",
    )


def problematic(parallel: Results, picard: Results) -> Claim:
    """A network's errors there cost iterations, against the exact denoiser."""
    ratios = iteration_ratios(parallel, SAME_STEPS, EXACT, SAME_STEPS, ("spirals",))
    found = decide_each({n.removeprefix("spirals, "): i for n, i in ratios.items()}, PROBLEM)
    sizes = {
        form: float(picard.where(measure="size", sampler="DDPM", form=form)["value"].max())
        for form in FORMS
    }
    return claim(
        "classifier-problematic",
        found,
        {
            "supported": "Yes: errors of the network cost parallel sampling many iterations.",
            "not supported": "No: parallel sampling is hardly faster with an exact denoiser.",
            "depends": f"Errors of the network cost iterations only in the {found.where()}.",
            "inconclusive": "Not decided: errors of the network may cost parallel sampling "
            "iterations.",
        },
        f"Ratio of iterations until samples are good, network over exact denoiser: {found.listed}. "
        f"The blow-up is the plain form's own: with the exact denoiser states grow to "
        f"{sizes['plain']:.0f} times the start, in the semilinear form to "
        f"{sizes['semilinear']:.1f} times.",
        data="spirals, DDPM, ratio of iterations",
        results=parallel,
        figure="fig-nc-blowup",
    )


def objective(errors: Results, later: Results) -> Claim:
    """The loss lowers errors off the distribution, at equal evaluations."""
    off = off_cases(errors, later)
    found = decide_each(mean_ratios(off, SAME_COST), LESS)
    single = tally([case for some in off.values() for case in some], SAME_COST)
    return claim(
        "classifier-objective",
        found,
        {
            "supported": "Yes: at equal cost errors off the training distribution are smaller.",
            "not supported": "No: at equal cost errors off the training distribution do not fall "
            "by 5 %.",
            "depends": short(
                f"At equal cost smaller errors only on {found.where()}.",
                "At equal cost errors off the distribution are smaller in some cases only.",
            ),
            "inconclusive": "Not decided: at equal cost errors off the distribution may fall by "
            "5 %.",
        },
        f"Ratio of errors off the distribution, with the loss over denoising at equal evaluations "
        f"(mean of all regions): {found.listed}. Of {len(single.ratios)} single regions "
        f"{single.better} are better, {single.worse} worse. At equal steps: "
        f"{in_words(mean_ratios(off, SAME_STEPS))}.",
        data="ratio of errors",
        results=errors,
        figure="fig-nc-map",
    )


def ratio(accuracy: Results, classifier: Results) -> Claim:
    """A denoiser defines the ratio: an identity."""
    area, best = (classifier.value(measure="area", classifier=c) for c in ("denoiser", "Bayes"))
    return Claim(
        "classifier-ratio",
        "proved",
        f"It is an identity, checked on mixtures with exact densities. "
        f"{levels_in_words(accuracy, NATS)} Area under the curve of the classifier: {area:.3f}, "
        f"of Bayes' rule {best:.3f}.",
        answer="Yes: the ratio follows from the denoiser, the more evaluations the closer.",
        effect=area,
        data="ring, exact denoiser, area under the curve",
        figure="fig-nc-ratio",
        proof="tests/test_metrics.py::test_log_likelihood_ratio_of_a_mixture",
    )


def ratio_ood() -> Claim:
    """The ratio asks the denoiser off its training distribution: by its formula."""
    return Claim(
        "classifier-ratio-ood",
        "proved",
        "For a noised point the formula asks for a level below the noise that is there. A denoiser "
        "that is wrong only at such points gives another ratio.",
        answer="Yes: for noised points the formula asks the denoiser at too low levels.",
        figure="fig-nc-ratio",
        proof="tests/test_noise_classifier_experiments.py"
        "::test_the_ratio_depends_on_answers_off_the_training_distribution",
    )


def samplers(sequential: Results, parallel: Results, digits: Results, images: Told) -> Claim:
    """The loss improves samples in sequence and in parallel, at equal evaluations."""
    kinds = kinds_of_samples(sequential, parallel, digits)
    found = decide_each(mean_ratios(kinds, SAME_COST), LESS)
    return claim(
        "classifier-samplers",
        found,
        {
            "supported": "Yes: at equal cost samples are better, step by step and in parallel.",
            "not supported": "No: at equal cost samples are not 5 % closer to the data.",
            "depends": short(
                f"At equal cost better samples only of {found.where()}.",
                "At equal cost samples are better in some settings only.",
            ),
            "inconclusive": "Not decided: at equal cost samples may be 5 % closer to the data.",
        },
        f"Ratio of distances of samples to the data, with the loss over denoising at equal "
        f"evaluations (mean of all settings): {found.listed}. At equal steps: "
        f"{in_words(mean_ratios(kinds, SAME_STEPS))}. "
        f"{images_in_words(images)}",
        data="ratio of distances",
        results=sequential,
    )


def speed(parallel: Results) -> Claim:
    """With the loss, Picard iteration is as good after fewer iterations."""
    found = decide_each(iteration_ratios(parallel, CONTRASTIVE, SAME_COST, SAME_COST), LESS)
    return claim(
        "classifier-speed",
        found,
        {
            "supported": "Yes: at equal training cost parallel sampling needs fewer iterations.",
            "not supported": "No: at equal training cost parallel sampling saves no 5 % of "
            "iterations.",
            "depends": short(
                f"Fewer parallel iterations only for {found.where()}.",
                "Parallel sampling needs fewer iterations in some cases only.",
            ),
            "inconclusive": "Not decided: parallel sampling may save 5 % of iterations, or none.",
        },
        f"Ratio of iterations until samples are good, with the loss over denoising at equal "
        f"evaluations: {found.listed}. 'Good' is within twice the control's last distance.",
        data="DDPM, ratio of iterations",
        results=parallel,
        figure="fig-nc-depth",
    )
