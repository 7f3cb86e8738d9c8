import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from companion import claims
from companion.claims import MIME, Claim, Claims, Interval, mean_interval, paired_difference

GOOD = {
    "id": "noise-helps",
    "quote": "Noise helps.",
    "source": "a paper, abstract",
    "verdict": "supported",
    "evidence": "It did.",
}


# --- statistics ---


def test_mean_interval_is_the_t_interval():
    # n = 4, sd = 1.29099, t(0.975, 3) = 3.18245
    interval = mean_interval([1.0, 2.0, 3.0, 4.0])
    assert interval.mean == 2.5 and interval.n == 4
    assert interval.high - 2.5 == pytest.approx(3.182446 * 1.290994 / 2, rel=1e-5)
    assert 2.5 - interval.low == pytest.approx(interval.high - 2.5)


def test_interval_covers_the_mean_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(3.0, 2.0, (4000, 5))
    missed = np.mean([mean_interval(row).excludes(3.0) for row in draws])
    assert missed == pytest.approx(0.05, abs=0.012)
    missed = np.mean([mean_interval(row, comparisons=5).excludes(3.0) for row in draws])
    assert missed == pytest.approx(0.01, abs=0.006)


def test_paired_difference_removes_what_the_pairs_share():
    shared = torch.tensor([0.0, 100.0, -50.0, 7.0])
    interval = paired_difference(shared + torch.tensor([1.0, 1.1, 0.9, 1.0]), shared)
    assert interval.mean == pytest.approx(1.0, abs=1e-4)
    assert interval.high - interval.low < 0.5 and interval.excludes(0)


def test_equal_values_give_a_point():
    assert mean_interval([2.0, 2.0]) == Interval(2.0, 2.0, 2.0, 2)


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20),
    st.floats(0.5, 0.99),
    st.integers(1, 50),
)
def test_more_comparisons_widen(values, confidence, comparisons):
    one = mean_interval(values, confidence=confidence)
    many = mean_interval(values, confidence=confidence, comparisons=comparisons)
    assert many.low <= one.low <= one.mean <= one.high <= many.high


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: mean_interval([1.0]), r"a: got shape \(1,\)"),
        (lambda: mean_interval([[1.0, 2.0], [3.0, 4.0]]), "a: "),
        (lambda: mean_interval(np.ones((2, 2))), r"a: got shape \(2, 2\)"),
        (lambda: mean_interval([1.0, math.nan]), "not finite"),
        (lambda: mean_interval([1.0, 2.0], confidence=95), "confidence: got 95"),
        (lambda: mean_interval([1.0, 2.0], comparisons=0), "comparisons: got 0"),
        (lambda: paired_difference([1.0, 2.0], [1.0, 2.0, 3.0]), "b: got 3 values"),
    ],
)
def test_bad_statistics(call, message):
    with pytest.raises((ValueError, TypeError), match=message if message != "a: " else None):
        call()


@pytest.mark.parametrize(
    "interval, text",
    [
        (Interval(0.12345, 0.10123, 0.14567, 8), "0.123 [0.101, 0.146]"),
        (Interval(123.456, 100.0, 146.9, 8), "123 [100, 147]"),
        (Interval(-0.0000123, -0.0000223, -0.0000023, 8), "-0.000012 [-0.000022, -0.000002]"),
        (Interval(1.0, 1.0, 1.0, 2), "1.0 [1.0, 1.0]"),
        (Interval(0.0, 0.0, 0.0, 2), "0 [0, 0]"),
    ],
)
def test_interval_as_text(interval, text):
    assert str(interval) == f"{interval}" == text


def test_interval_with_a_format():
    assert f"{Interval(0.5, 0.25, 0.75, 3):.1%}" == "50.0% [25.0%, 75.0%]"


# --- claims ---


def test_claim_takes_effect_and_interval_from_an_interval():
    claim = Claim(**GOOD, interval=mean_interval([1.0, 2.0, 3.0]), seeds=3)
    assert claim.effect == 2.0 and claim.interval[0] < 2.0 < claim.interval[1]
    assert claim.measured == str(mean_interval([1.0, 2.0, 3.0]))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"id": "Not A Slug"}, "id: got 'Not A Slug'"),
        ({"quote": " "}, "quote of noise-helps"),
        ({"source": ""}, "source of noise-helps"),
        ({"verdict": "yes"}, "verdict.*'yes'.*'supported', 'supported in part', 'not supported'"),
        ({"evidence": ""}, "evidence of noise-helps: .*only 'not tested'"),
        ({"evidence": None}, "evidence of noise-helps"),
        ({"interval": (2.0, 1.0)}, "interval of noise-helps"),
        ({"interval": (0.0, math.nan)}, "interval of noise-helps"),
        ({"effect": math.inf}, "effect of noise-helps"),
        ({"seeds": 0}, "seeds of noise-helps"),
        ({"provenance": ""}, "provenance of noise-helps"),
    ],
)
def test_bad_claim(change, message):
    with pytest.raises(ValueError, match=message):
        Claim(**{**GOOD, **change})


def test_not_tested_needs_no_evidence():
    claim = Claim(**{**GOOD, "verdict": "not tested", "evidence": ""})
    assert str(claim) == "[not tested] “Noise helps.” (a paper, abstract)"


def test_claims_refuse_a_double_id_and_strangers():
    claim = Claim(**GOOD)
    with pytest.raises(ValueError, match="'noise-helps' is there twice"):
        Claims([claim, claim])
    with pytest.raises(TypeError, match="claims: got str"):
        Claims(["claim"])


def test_html_is_escaped_and_names_the_verdict():
    text = Claims([Claim(**{**GOOD, "quote": "<script>x</script> & y"})])._repr_html_()
    assert "<script>" not in text and "&lt;script&gt;x" in text and "&amp; y" in text
    assert ">supported</span>" in text


def notebook(path, *displayed):
    outputs = []
    for each in displayed:
        data, metadata = each._repr_mimebundle_()
        outputs.append({"output_type": "execute_result", "data": data, "metadata": metadata})
    cells = [
        {"cell_type": "markdown", "source": "text"},
        {"cell_type": "code", "outputs": [{"output_type": "stream", "text": "x"}, *outputs]},
    ]
    path.write_text(json.dumps({"cells": cells, "nbformat": 4}), encoding="utf-8")
    return path


def test_read_gets_back_what_was_shown(tmp_path):
    first = Claim(
        **GOOD, interval=mean_interval([1.0, 2.0]), seeds=2, data="digits", figure="fig-a"
    )
    second = Claim(**{**GOOD, "id": "b", "verdict": "not tested"})
    paths = [
        notebook(tmp_path / "00_one.ipynb", first, Claims([first])),  # twice the same: once
        notebook(tmp_path / "01_two.ipynb", second),
    ]
    found = claims.read(paths)
    assert [claim.chapter for claim in found] == ["00_one", "01_two"]
    assert found[0].interval == first.interval and found[0].effect == first.effect
    assert [str(c) for c in found] == [str(first), str(second)]


def test_read_says_which_notebook_is_wrong(tmp_path):
    a = notebook(tmp_path / "a.ipynb", Claim(**GOOD))
    b = notebook(tmp_path / "b.ipynb", Claim(**{**GOOD, "evidence": "It did twice."}))
    with pytest.raises(ValueError, match=r"b\.ipynb: the claim 'noise-helps' differs .* in a"):
        claims.read([a, b])
    text = b.read_text(encoding="utf-8").replace('"supported"', '"perhaps"')
    b.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"b\.ipynb has a claim that is not valid: verdict"):
        claims.read([b])
    b.write_text(text[:50], encoding="utf-8")
    with pytest.raises(ValueError, match=r"b\.ipynb is not a notebook"):
        claims.read([b])


def test_machine_readable_form_is_metadata_not_a_representation():
    # myst-nb warns of a representation that it does not know, and the book is built with -W.
    data, metadata = Claim(**GOOD)._repr_mimebundle_()
    assert set(data) == {"text/plain", "text/html"} and set(metadata) == {MIME}
    json.dumps(metadata)


# --- a table of verdicts ---


def test_matrix_has_a_cell_for_each_row_and_column():
    cells = {
        ("one", "A"): claims.Cell("supported", "+3 % [2, 4]\n1 < 2", "fig-one"),
        ("one", "B"): claims.Cell("does not apply", "nothing is <trained>"),
    }
    matrix = claims.Matrix(["one"], ["A", "B"], cells, corner="reason")
    assert matrix["one", "A"].figure == "fig-one"
    assert repr(matrix).splitlines() == [
        "one",
        "    A: [supported] +3 % [2, 4]; 1 < 2",
        "    B: [does not apply] nothing is <trained>",
    ]
    page = matrix._repr_html_()
    assert '<a href="#fig-one">supported</a>' in page and "&lt;trained&gt;" in page
    assert "+3 % [2, 4]<br>1 &lt; 2" in page
    assert '<th scope="row"' in page and page.count('scope="col"') == 2
    with pytest.raises(ValueError, match=r"there is none for \('one', 'B'\)"):
        claims.Matrix(["one"], ["A", "B"], {("one", "A"): cells["one", "A"]})
    with pytest.raises(ValueError, match="is no row and column"):
        claims.Matrix(["one"], ["A"], cells)
    with pytest.raises(ValueError, match="verdict: got 'true'"):
        claims.Cell("true", "x")
    with pytest.raises(ValueError, match="text: got ''"):
        claims.Cell("supported", "")
