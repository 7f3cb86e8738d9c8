"""What chapter 5 says in short: the best is named, a win reads as a win, a loss as a loss."""

import pytest
from test_four_noises_rules import LOSS, WIN, example_pairs

from companion.experiments.claims import Claim, Claims
from companion.experiments.four_noises import summary

YES, NO, OPEN = "supported", "not supported", "inconclusive"


def claims(gradient, elsewhere, off_path=OPEN):
    told = {"perturbation-and-gradient": gradient, "contrastive-elsewhere": elsewhere,
            "contrastive-off-path": off_path}  # fmt: skip
    return Claims(Claim(f"meet-{k}", v, "measured", answer=v) for k, v in told.items())


@pytest.mark.parametrize(
    "gradient, elsewhere, avoid",
    [
        (
            YES,
            YES,
            ("extra noise for gradient estimation: no gain", "other: it gains nothing"),
        ),
        (NO, NO, ("do go together", "helps all kinds")),
        (OPEN, OPEN, ("no clear gain", "no clear gain")),
    ],
)
def test_the_box_follows_results_and_verdicts(gradient, elsewhere, avoid):
    effects = {
        (None, None, "ddpm", None): LOSS,
        (None, "contrastive", None, None): WIN,
        (None, "consistent high", None, None): 2 * WIN,
        ("digits", "both", "picard", None): 2 * LOSS,
    }
    box = summary.box(example_pairs(effects), claims(gradient, elsewhere))
    assert "Heun is best at 5" in box.use and "on digits: consistent high" in box.use
    assert all(text in box.avoid for text in avoid)
    assert "0.74" in box.number and "0.80" in box.number and "0.64" in box.number
    assert "3 cancel" in box.works and "0 help each other" in box.works


def test_a_loss_that_helps_no_sampler_is_said_to_help_none():
    box = summary.box(example_pairs(), claims(OPEN, YES, off_path=NO))
    assert "it helped none, the parallel one included" in box.avoid


def test_a_loss_reads_as_a_loss():
    effects = {(None, None, "heun", None): 4 * LOSS, (None, "naive high", None, None): WIN}
    box = summary.box(example_pairs(effects), claims(YES, YES))
    assert "Stay with DDIM" in box.use and "no loss is clearly better" in box.use


def test_changes_are_factors_against_what_was_there_before():
    factors = summary.changes(example_pairs({(None, "contrastive", None, None): WIN}), 5)
    assert factors["training"]["contrastive"].mean == pytest.approx(0.8, rel=0.02)
    assert factors["sampler"]["DDPM"].mean == pytest.approx(1.0, rel=0.02)
    assert set(factors) == {"sampler", "training", "noisy data"}
