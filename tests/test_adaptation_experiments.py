"""Chapter 8: its experiments at small sizes, and that a stack is what its networks are alone."""

import matplotlib
import pandas as pd
import torch

from companion.experiments.adaptation import figures, image_seed, images, networks, race, tables
from companion.experiments.adaptation.classifiers import new_classifiers, trained
from companion.experiments.adaptation.known import labelled

matplotlib.use("Agg")


def test_every_way_answers_under_every_condition(smoke):
    results = smoke.run(race.DigitRace)
    assert set(results.labels("way")) == set(race.WAYS)
    assert set(results.labels("condition")) == {"none", "noise 0.5", "blur", "contrast",
                                                "pixelation"}  # fmt: skip
    accuracy = results.where(measure="accuracy")["value"]
    assert accuracy.between(0, 1).all() and len(accuracy) == 11 * 5 * 2
    assert results.arrays["blur: seen"].shape == (6, 1, 8, 8)
    assert figures.what_is_seen(results).axes
    chosen = tables.chosen(results).data
    assert list(chosen.index) == [tables.LABELS[w] for w in race.WAYS if w in chosen_ways()]
    assert "DDIM" in str(chosen.loc["sampled"].tolist()) or "DDPM" in str(chosen.loc["sampled"])


def chosen_ways():
    """Return ways with more than one setting at the smallest size."""
    return [way for way in race.WAYS if way not in ("nothing", "trained with noise")]


def test_the_mixture_has_its_ceiling_and_the_exact_denoiser_comes_near_it(smoke):
    results = smoke.run(race.MixtureRace)
    assert {race.CEILING, race.EXACT} <= set(results.labels("way"))
    top = results.values(measure="accuracy", way=race.CEILING, condition="noise 0.5")
    assert top.min() > 0.9


def test_ways_make_the_calls_that_they_say(smoke):
    """With 2 calls at smoke size: counted on the denoisers."""
    made = smoke.run(networks.DigitNetworks)
    purifiers, classifiers = networks.stacks(made)
    counts = {}

    class Counting:
        def __init__(self, denoiser):
            self.denoiser = denoiser

        def __call__(self, x, sigma):
            counts["calls"] = counts.get("calls", 0) + 1
            return self.denoiser(x, sigma)

    known = networks.the_data(made.settings, smoke, "digits")
    counting = {k: Counting(d) for k, d in purifiers.items()}
    course = race.Course(smoke.asked(race.DigitRace), known, counting, classifiers, 16)
    y = known.test[:12].repeat(course.runs, 1, 1, 1)
    for way, settings, answer in course._ways(y, 0.5, [0.5], torch.Generator()):
        counts["calls"] = 0
        answer(settings[0])
        # A backward pass counts as one more.
        assert counts["calls"] * (2 if way == "guided" else 1) == race.WAYS[way], way


def test_classifiers_learn_alone_as_in_a_stack():
    known = labelled("digits", 0, torch.Generator())
    both = new_classifiers(64, 10, 8, [0, 1])
    learned = trained(both, known.train, known.train_labels, steps=3, seed=0, batch=8)
    assert not torch.equal(learned.module.layers[0].weight, both.module.layers[0].weight)
    x = known.test[:4]
    together = learned(x.repeat(2, 1, 1, 1), 0.0)
    assert torch.allclose(together[4:], learned[1](x, 0.0), atol=1e-6)


def test_the_race_on_images_runs_at_its_smallest_size(smoke):
    results = smoke.run(images.ImageRace)
    assert set(results.labels("way")) == set(race.WAYS)
    assert results.where(measure="accuracy")["value"].between(0, 1).all()


def test_one_seed_on_images_is_the_same_whether_alone_or_in_the_race(smoke):
    part = smoke.run(image_seed.ImageSeed(network_seed=1))
    race_table = smoke.run(images.ImageRace).table
    seed = smoke.seed + 1
    assert set(part.table["seed"]) == {seed}
    single = {"way": "nothing", "condition": "noise 0.5", "measure": "accuracy"}
    (alone,) = part.where(**single)["value"]
    in_race = race_table.query("way == 'nothing' and condition == 'noise 0.5' and seed == @seed")
    assert in_race.query("measure == 'accuracy'")["value"].item() == alone


def test_each_seed_takes_the_setting_that_is_best_with_the_others():
    accuracies = {0: (0.9, 0.1), 1: (0.5, 0.6), 2: (0.4, 0.6)}
    rows = [
        {"measure": m, "setting": i, "condition": "blur", "way": "one call", "seed": s, "value": v}
        for s, both in accuracies.items()
        for i, a in enumerate(both)
        for m, v in (("accuracy", a), ("calibration error", a / 2))
    ]
    table = images.chosen(pd.DataFrame(rows)).pivot(index="seed", columns="measure", values="value")
    # Seed 0 is told by 1 and 2 to take the second, which is bad for it; the others take the first.
    assert table["setting"].tolist() == [1, 0, 0]
    assert table["accuracy"].tolist() == [0.1, 0.5, 0.4]
    assert table["calibration error"].tolist() == [0.05, 0.25, 0.2]
