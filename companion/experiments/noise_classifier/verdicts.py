"""What chapter 3 concludes: one rule a claim."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from companion.experiments.claims import Claim, Claims
from companion.experiments.noise_classifier.classifiers import LevelReading, TrainedClassifiers
from companion.experiments.noise_classifier.comparisons import (
    decide_each,
    ratio_text,
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
    entropy_ratios,
    image_tests_in_words,
    images_in_words,
    in_words,
    iteration_ratios,
    kinds_of_samples,
    known_shares,
    levels_in_words,
    mean_ratios,
    more_visits,
    off_cases,
    off_ratios,
    setting_name,
    steps_in_words,
    trajectories_off,
)
from companion.experiments.noise_classifier.images import ImageContrast
from companion.experiments.noise_classifier.picard import FORMS, ExactPicard
from companion.experiments.noise_classifier.points import DATA, PointNetworks
from companion.experiments.noise_classifier.ratio import Accuracy, SecretClassifier
from companion.experiments.noise_classifier.regions import LaterErrors, RegionErrors, Visits
from companion.experiments.noise_classifier.samples import (
    EXACT,
    ParallelSamples,
    SequentialSamples,
)
from companion.experiments.results import Results
from companion.experiments.session import Session
from companion.statistics import mean_interval

LESS = 0.95
"""Ratio to equal evaluations from which a gain matters: 5 %, of errors, distances, iterations."""
WORSE_OFF = 2.0
"""Times the error of the training distribution from which an estimate off it is poor."""
INEVITABLE = 0.5
"""Share of trajectories with a state off the distribution from which that is the rule."""
MANY = 0.1
"""Share of evaluations off the distribution, beyond that of steps in sequence, that is many."""
PROBLEM = 1.25
"""Times the iterations with the exact denoiser from which a network's errors are a problem."""
AS_GOOD = 0.95
"""Share of what the exact classifier knows from which a network 'is' one: all but 5 %."""
SHOWS = 0.9
"""Share of a change of the noise that an answer must show to predict it: all but a tenth."""
NATS = 0.1
"""Median error of the ratio that counts as right."""
EARLY = 2
"""Iteration whose evaluations are counted: the first that no sampler would make."""

Told = Mapping[str, Results | None]
"""Records of the image experiment by their titles."""


def verdicts(session: Session) -> Claims:
    """Run what the claims rest on, or take it from memory, and apply all rules."""
    accuracy, classifier = session.run(Accuracy), session.run(SecretClassifier)
    errors, later, visits = (session.run(e) for e in (RegionErrors, LaterErrors, Visits))
    picard, test = session.run(ExactPicard), session.run(DigitTest)
    parallel, sequential = session.run(ParallelSamples), session.run(SequentialSamples)
    digits, images = session.run(DigitSamples), session.records(ImageContrast)
    trained = session.run(TrainedClassifiers)
    steps = steps_in_words(session.run(PointNetworks), session.run(DigitNetworks))
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
    return Claims(
        one if one.verdict == "proved" else replace(one, evidence=f"{one.evidence} {steps}")
        for one in claims
    )


# --- the abstract --------------------------------------------------------------------------------


def ood(errors: Results) -> Claim:
    """The denoiser is poor off the distribution."""
    found = decide_each(off_ratios(errors), WORSE_OFF)
    return claim(
        "classifier-ood",
        found,
        {
            "supported": "Yes: with more noise than admitted its error is at least twice as large.",
            "not supported": "No: off the distribution its error is less than twice as large.",
            "depends": f"Its error there is at least twice as large only on {found.where()}.",
            "inconclusive": "Not decided: its error off the distribution may be twice as large.",
        },
        f"The error of the noise estimate at points with more noise than they admit, over that at "
        f"points as in training: {found.listed}.",
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
            "supported": "Yes: most trajectories of every sequential sampler go there.",
            "not supported": "No: fewer than half of a sequential sampler's trajectories go there.",
            "depends": f"It depends on the sampler: most trajectories only by {found.where()}.",
            "inconclusive": "Not decided: about half of the trajectories may go there.",
        },
        f"The share of trajectories with a state beyond 999 of 1,000 noised data points: "
        f"{found.listed}. Of data noised anew at each level it is {noised:.2f}.",
        data="spirals, share of trajectories",
        results=visits,
    )


def parallel_ood(visits: Results) -> Claim:
    """Picard iteration evaluates off the distribution far more than the sampler that it solves."""
    found = decide_each(more_visits(visits, EARLY), MANY, reference=0.0)
    return claim(
        "classifier-parallel-ood",
        found,
        {
            "supported": "Yes: its early iterations evaluate off the distribution in both forms.",
            "not supported": "No: it evaluates off the distribution hardly more than steps do.",
            "depends": f"Only in its {found.where()}.",
            "inconclusive": "Not decided: it may evaluate off the distribution more often.",
        },
        f"The share of evaluations off the distribution in iteration {EARLY}, less that of DDIM in "
        f"sequence: {found.listed}.",
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
            "supported": "Yes: with the exact denoiser a quarter fewer iterations are enough.",
            "not supported": "No: the exact denoiser needs nearly as many iterations, or more.",
            "depends": f"Errors of the network cost iterations only in the {found.where()}.",
            "inconclusive": "Not decided: the network's errors may cost iterations.",
        },
        f"Iterations until samples are good, over those with the exact denoiser: {found.listed}. "
        f"The blow-up of the plain form is not the network's: with the exact denoiser states grow "
        f"to {sizes['plain']:.0f} times the start there, and to {sizes['semilinear']:.1f} times "
        f"in the semilinear form.",
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
            "supported": "Yes: errors off the distribution are smaller at equal evaluations.",
            "not supported": "No: errors there are not 5 % smaller at equal network evaluations.",
            "depends": f"At equal network evaluations smaller errors only on {found.where()}.",
            "inconclusive": "Not decided at equal network evaluations: 5 % less error is possible.",
        },
        f"The error off the distribution over that of equal evaluations, mean of all regions: "
        f"{found.listed}. Single regions: smaller in {single.better} and larger in {single.worse} "
        f"of {len(single.ratios)}. Over that of equal steps: "
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
        f"{levels_in_words(accuracy, NATS)} The area under the curve of its classifier is "
        f"{area:.3f}, and {best:.3f} is that of Bayes.",
        answer="Yes: the ratio follows from the denoiser, as closely as one pays for.",
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
        answer="Yes: for noised points it asks at levels below their noise.",
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
            "supported": "Yes: samples are better at equal network evaluations, either way.",
            "not supported": "No: samples are not 5 % closer at equal network evaluations.",
            "depends": f"At equal evaluations better samples only of {found.where()}.",
            "inconclusive": "Not decided at equal evaluations: samples may be 5 % closer.",
        },
        f"The distance of samples to the data over that of equal evaluations, mean of all "
        f"settings: {found.listed}. Over that of equal steps: "
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
            "supported": "Yes: equal samples after fewer iterations, at equal training cost.",
            "not supported": "No: not 5 % fewer iterations until samples are equally good.",
            "depends": f"Fewer iterations only for {found.where()}.",
            "inconclusive": "Not decided: 5 % fewer iterations are possible, and none too.",
        },
        f"Iterations until samples are within twice the last distance of the control, over those "
        f"of the control (equal evaluations in training): {found.listed}.",
        data="DDPM, ratio of iterations",
        results=parallel,
        figure="fig-nc-depth",
    )


# --- the second-hand summary ---------------------------------------------------------------------


def disguise(trained: Results) -> Claim:
    """The classifier inside of a trained network is as good as the exact one."""
    found = decide_each(known_shares(trained), AS_GOOD, reference=0.0)
    return claim(
        "classifier-disguise",
        found,
        {
            "supported": "Yes: trained networks contain a classifier as good as the exact one.",
            "not supported": "No: the classifier inside of a trained network falls short.",
            "depends": f"As good a classifier as the exact one only on {found.where()}.",
            "inconclusive": "Not decided: the classifier inside may be as good as the exact one.",
        },
        f"What the classifier made of a trained network knows, as a share of what that of the "
        f"exact denoiser knows (nats below chance): {found.listed}.",
        data="share of the exact classifier's nats",
        results=trained,
        figure="fig-nc-ratio",
    )


def distinguish(test: Results, trained: Results, images: Told) -> Claim:
    """The loss helps to tell clean from noised, at equal evaluations."""
    number = len(DATA) + len(test.labels("t", measure="cross entropy"))
    ratios = {f"digits, t = {t:g}": i for t, i in entropy_ratios(test, "t", number).items()}
    found = decide_each(ratios | entropy_ratios(trained, "data", number), LESS)
    return claim(
        "classifier-distinguish",
        found,
        {
            "supported": "Yes: clean and noised are told apart better at equal evaluations.",
            "not supported": "No: the test is not 5 % better at equal network evaluations.",
            "depends": f"At equal evaluations better only for {found.where()}.",
            "inconclusive": "Not decided at equal evaluations: a 5 % gain is possible.",
        },
        f"The cross entropy of telling clean from noised, over that of equal evaluations: "
        f"{found.listed}. "
        f"{image_tests_in_words(images)}",
        data="ratio of cross entropies",
        results=test,
    )


def density(accuracy: Results, errors: Results) -> Claim:
    """An optimal denoiser is a density estimator: an identity."""
    listed = ", ".join(f"{i.mean:.0f} times ({name})" for name, i in off_ratios(errors).items())
    return Claim(
        "classifier-density",
        "proved",
        f"It is an identity, checked on mixtures with exact densities. "
        f"{levels_in_words(accuracy, NATS)} For a trained denoiser it holds as far as its answers "
        f"are right: off the distribution its error is {listed} as large.",
        answer="Yes, an optimal one: its errors over all levels are the density.",
        figure="fig-nc-ratio",
        proof="tests/test_metrics.py::test_nll_of_a_mixture",
    )


def predicts_level(reading: Results) -> Claim:
    """Told another level, a network's answer shows the noise that is there."""
    true, told = (
        mean_interval(reading.values(measure="elasticity", changed=changed))
        for changed in ("true level", "told level")
    )
    found = decide_each({"true level": true}, SHOWS, reference=0.0)
    return claim(
        "classifier-predicts-level",
        found,
        {
            "supported": "Yes: told another level, its answer shows the noise that is there.",
            "not supported": "No: it is told a level, and does not predict the true one.",
            "inconclusive": "Not decided: told another level, its answer may show the true noise.",
        },
        f"Share of a change of the noise that the answer shows while the level that the network is "
        f"told stays: {true}. If only the told level changes it is {told}. The level is an input "
        f"of the network, and nothing trains it to give one.",
        data="digits, elasticity of the answer's noise",
        results=reading,
    )


def consistently(sequential: Results, parallel: Results, digits: Results) -> Claim:
    """The loss is better in every setting, at equal evaluations."""
    listed = [
        (setting_name(kind, case[1]), case)
        for kind, some in kinds_of_samples(sequential, parallel, digits).items()
        for case in some
    ]
    compared = tally([case for _, case in listed], SAME_COST, len(listed))
    found = decide_each(dict(zip((n for n, _ in listed), compared.ratios)), LESS, every=True)
    gains = sum(verdict == "supported" for verdict in found.each.values())
    return claim(
        "classifier-consistently",
        found,
        {
            "supported": "Yes: at equal evaluations samples are better in every setting.",
            "not supported": "No: at equal evaluations some settings gain nothing.",
            "inconclusive": "Not decided: every setting may gain at equal evaluations.",
        },
        f"The least gain, as the ratio of distances to equal evaluations, is "
        f"{ratio_text(found.found[found.decisive])} ({found.decisive}). Of {len(listed)} settings "
        f"{gains} gain.",
        data=found.decisive,
        results=sequential,
    )
