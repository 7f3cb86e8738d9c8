"""What chapter 1 says in short, on made-up results: a win reads as a win, a loss as a loss."""

import re

import pytest
from extra_noise_made_up import (
    LOSS,
    NOISY,
    SURELY,
    TIE,
    WIN,
    errors,
    failures,
    gradients,
    rivals,
    samples,
)

from companion.experiments import extra_noise as xn
from companion.experiments.claims import Claims
from companion.experiments.extra_noise import paper_verdicts, summary
from companion.experiments.extra_noise.reasons import FEW, regularization, stability
from companion.experiments.extra_noise.verdicts import stabilizes


def boxed(distance=TIE, free=TIE, scatter=SURELY, few=TIE):
    known = {"digits": samples(distance=distance, free=free, scatter=scatter)}
    claims = [
        rule(known, {}) for rule in (paper_verdicts.perturbation, paper_verdicts.beyond_relabelling)
    ]
    return summary.box(Claims(claims), known, regularization(errors(few), rivals()), {})


def test_a_win_of_training_reads_as_a_win():
    box = boxed(distance=WIN, free=TIE)
    assert box.works.startswith("Yes: samples improve on every chain. Yes: it beats relabelling")
    assert "You can train" in box.use and "You cannot train" in box.avoid
    assert re.search(r"trained with it −[45]\d\.\d %", box.number)


def test_a_win_that_is_free_is_no_win_of_training():
    box = boxed(distance=WIN, free=WIN)
    assert "without training, does as well" in box.works
    assert "ask a network that you have" in box.use and "steps" in box.use
    assert "is free." in box.avoid
    worse = boxed(distance=0.8, free=WIN)
    assert re.search(r"training is worse by \+\d\d", worse.avoid)


@pytest.mark.parametrize("distance", [TIE, LOSS])
def test_a_loss_reads_as_a_loss(distance):
    box = boxed(distance=distance)
    assert box.works.startswith("No: samples improve on no chain")
    assert box.use == "Nothing here speaks for it."


def test_what_is_undecided_is_not_told_as_a_finding():
    box = boxed(distance=0.9, scatter=NOISY)
    assert box.works.count("Undecided") == 2


def test_noise_on_the_data_is_named_where_it_helps():
    assert f"on {FEW} digits" in boxed(few=WIN).use
    assert "noise on the data" not in boxed(few=LOSS).use


def test_answers_have_the_signs_of_their_verdicts():
    claim = stabilizes(stability(gradients(TIE, TIE), failures(0.8, 0.8, 0.8)))
    assert xn.answers(Claims([claim]), "extra-stability") == f"- ○ **{claim.answer}**"


def test_a_listing_is_code_that_can_be_lifted():
    text = xn.listing((xn.learned_from_noisy, "level ="))
    assert text.startswith("```python\n# learned_from_noisy\nlevel = math.hypot") and text.endswith(
        "\n```"
    )
    compile(
        re.sub("return ", "answer = ", text.strip("`").removeprefix("python")), "listing", "exec"
    )


def test_a_table_of_effects_marks_what_is_better():
    import pandas as pd

    frame = pd.DataFrame(
        {"a": ["−5.0 % [−9.0, −1.0]", "−5.0 % [−9.0, +1.0]"], "b": ["plain", None]}
    )
    assert xn.tables.better(frame).tolist() == [[True, False], [False, False]]
