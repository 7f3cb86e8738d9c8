"""The rules of chapter 9 on made-up results, where the verdict is plain."""

import importlib

import numpy as np
import pytest

from companion.experiments import Results, tidy
from companion.experiments.claims import catalogue
from companion.experiments.your_images.folders import BM3D
from companion.experiments.your_images.losses import AMBIENT, NOISE2SELF
from companion.experiments.your_images.race import FILTER, NOISY, OURS, RIVALS
from companion.experiments.your_images.summary import box

# By its name: `verdicts` of the package is the function that applies all rules.
rules = importlib.import_module("companion.experiments.your_images.verdicts")

PICTURES = [f"p{i}" for i in range(8)]
SUPPORTED, NOT, DEPENDS, OPEN = "supported", "not supported", "depends", "inconclusive"


def spread(mean, scatter=0.01, number=0):
    """A value for each picture around a mean."""
    values = np.random.default_rng(number).normal(size=len(PICTURES))
    return mean + scatter * (values - values.mean())


def psnrs(values, **where):
    """PSNR of each method on each picture, the pictures themselves being very different."""
    easy = np.linspace(25, 35, len(PICTURES))
    table = np.stack([easy + spread(v, s, i) for i, (v, s) in enumerate(values.values())])
    return tidy(table, {"method": list(values), "picture": PICTURES}, measure="psnr", **where)


def race(gain=0.5, added=0.1, scatter=0.01, ratio=1.0, off=0.1, gain_at_15=None):
    """Results of the race: gains over the filters and over its own filter in dB."""
    tables = []
    for level in (15.0, 25.0, 50.0):
        by = gain if level > 15 or gain_at_15 is None else gain_at_15
        values = {NOISY: (-8, 0.01), OURS: (0, 0.0), FILTER: (-added, scatter)}
        tables.append(psnrs(values | {m: (-by, scatter) for m in RIVALS}, level=level))
    methods = [OURS, FILTER, *RIVALS]
    true = np.stack([tables[1][tables[1]["method"] == m]["value"] for m in methods])
    axes = {"method": methods, "picture": PICTURES}
    tables.append(tidy(true + off, axes, level=25.0, measure="estimated psnr"))
    errors = np.stack([ratio * np.exp(spread(0, scatter)), np.ones(8)])
    axes = {"measure": ["predicted error", "true error"], "picture": PICTURES}
    tables.append(tidy(errors, axes, level=25.0, method=OURS))
    return Results(tables, settings={"steps": 150, "watched": 25.0, "side": 128})


def losses(gain, scatter=0.01):
    values = {OURS: (0, 0.0), AMBIENT: (-1, scatter), NOISE2SELF: (-gain, scatter)}
    return Results(psnrs(values, level=25.0), settings={"level": 25.0})


def levels(*ratios, scatter=0.001):
    table = np.stack([spread(r, scatter)[:5] for r in ratios], 1)
    axes = {"draw": range(5), "level": [5.0, 25.0][: len(ratios)]}
    return Results(tidy(table, axes, measure="folder"), settings={"draws": 5, "pictures": 8})


def record(gain, scatter=0.01, added=0.1):
    values = {OURS: (0, 0.0), BM3D: (-gain, scatter), FILTER: (-added, scatter)}
    return Results(psnrs(values), settings={"sigma": 25.0}, facts={"steps": 9000})


@pytest.mark.parametrize(
    ("made", "verdict"),
    [
        (race(0.5), SUPPORTED),
        (race(0.0), NOT),
        (race(-0.5), NOT),
        (race(0.1), NOT),  # certain, but too small
        (race(0.5, gain_at_15=-0.3), DEPENDS),
        (race(0.5, scatter=2.0), OPEN),
    ],
)
def test_over_filters(made, verdict):
    assert rules.over_filters(made).verdict == verdict


@pytest.mark.parametrize(
    ("added", "scatter", "verdict"),
    [(0.1, 0.01, SUPPORTED), (0.0, 0.01, NOT), (-0.1, 0.01, NOT), (0.05, 0.2, OPEN)],
)
def test_the_network_adds(added, scatter, verdict):
    assert rules.adds(race(added=added, scatter=scatter)).verdict == verdict
    long = record(0.5, added=added, scatter=scatter)  # it decides if it is there
    other = record(0.5, added=-1, scatter=scatter)  # told, and decides nothing
    claim = rules.adds(race(added=-1), long, {"pieces of the sky": other, "nothing": None})
    assert claim.verdict == verdict
    assert "On pieces of the sky it is -1.0" in claim.evidence and "nothing" not in claim.evidence


@pytest.mark.parametrize(
    ("gain", "scatter", "verdict"),
    [(1.0, 0.01, SUPPORTED), (0.0, 0.01, NOT), (-1.0, 0.01, NOT), (0.3, 1.0, OPEN)],
)
def test_over_noise2self(gain, scatter, verdict):
    assert rules.over_noise2self(losses(gain, scatter)).verdict == verdict


@pytest.mark.parametrize(
    ("gain", "scatter", "level", "above"),
    [
        (0.5, 0.01, SUPPORTED, SUPPORTED),
        (0.0, 0.01, SUPPORTED, NOT),
        (-0.5, 0.01, NOT, NOT),
        (0.0, 1.0, OPEN, OPEN),
    ],
)
def test_against_bm3d(gain, scatter, level, above):
    made = record(gain, scatter)
    assert rules.over_bm3d("images-over-bm3d", made, "pictures", -rules.EVEN).verdict == level
    assert rules.over_bm3d("images-one-kind", made, "pictures", rules.EVEN).verdict == above
    assert rules.over_bm3d("images-sky", made, "pictures", rules.EVEN).verdict == above


def test_without_a_record_bm3d_is_not_tested():
    assert rules.over_bm3d("images-over-bm3d", None, "pictures", -0.1).verdict == "not tested"


@pytest.mark.parametrize(
    ("ratio", "scatter", "verdict"),
    [(1.0, 0.01, SUPPORTED), (1.5, 0.01, NOT), (0.6, 0.01, NOT), (1.2, 0.3, OPEN)],
)
def test_uncertainty(ratio, scatter, verdict):
    claim = rules.uncertainty(race(ratio=ratio, scatter=scatter))
    assert claim.verdict == verdict
    assert ("too small" in claim.answer) == (ratio < 1 and verdict == NOT)


@pytest.mark.parametrize(
    ("made", "verdict"),
    [
        (levels(1.02, 0.97), SUPPORTED),
        (levels(1.3, 1.02), DEPENDS),
        (levels(1.3, 1.4), NOT),
        (levels(1.1, scatter=0.1), OPEN),
    ],
)
def test_level_found(made, verdict):
    assert rules.level_found(made).verdict == verdict


@pytest.mark.parametrize(("off", "verdict"), [(0.2, SUPPORTED), (0.9, NOT), (-0.9, NOT)])
def test_without_truth(off, verdict):
    assert rules.without_truth(race(off=off)).verdict == verdict


def test_every_claim_is_judged_once():
    claims = rules.judge(race(), losses(1.0), levels(1.0), record(0.5), record(0.5))
    assert {c.id for c in claims} == {i for i in catalogue() if i.startswith("images-")}
    assert len({c.answer for c in claims}) == len(claims)


def test_in_short_reads_as_what_was_found():
    won, lost = race(0.5), race(-0.5, added=-0.1)
    good = box(won, rules.judge(won, losses(1.0), levels(1.0), record(0.5), record(0.5)))
    bad = box(lost, rules.judge(lost, losses(-1.0), levels(1.3), record(-0.5), record(-0.5)))
    open_ = box(won, rules.judge(won, losses(1.0), levels(1.0)))
    assert good.works.startswith("Yes") and "level with BM3D on different pictures" in good.works
    assert bad.works.startswith("No") and "stays below BM3D" in bad.works
    assert "not recorded" in open_.works
    assert "and 0.5 [" in good.number and "and -0.5 [" in bad.number
