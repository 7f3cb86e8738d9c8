"""The box that a chapter begins with."""

import json

import pytest

from companion.experiments import InShort, in_short
from companion.experiments.claims import Claim, Claims
from companion.experiments.in_short import MIME, choose


def box(**changes):
    lines = {name: f"A sentence on {name}." for name in in_short.LABELS}
    return InShort(**{"method": "some method", **lines, **changes})


def claim(answer="Yes <b>here</b>."):
    return Claim(
        "a-claim", "supported", "Measured.", answer=answer, quote="Quoted <i>text</i>.", source="A"
    )


def test_shows_each_line_and_a_sign_that_leads_to_the_verdict():
    shown = box(claims=Claims([claim()]))
    for text in (str(shown), shown._repr_html_()):
        assert all(f"A sentence on {name}." in text for name in in_short.LABELS)
        assert "●" in text
    assert 'href="#claim-a-claim"' in shown._repr_html_()


def test_escapes_what_it_shows():
    shown = box(number="<script>1</script>", claims=Claims([claim()]))._repr_html_()
    assert "<script>" not in shown and "<b>" not in shown


@pytest.mark.parametrize("line", ["", "word " * 41, None])
def test_refuses_a_line_that_nobody_reads(line):
    with pytest.raises(ValueError, match=r"^caveat: got"):
        box(caveat=line)


def test_is_read_out_of_an_executed_notebook(tmp_path):
    shown = box(claims=Claims([claim()]))
    data, metadata = shown._repr_mimebundle_()
    outputs = [{"output_type": "execute_result", "data": data, "metadata": metadata}]
    path = tmp_path / "07-name.ipynb"
    path.write_text(json.dumps({"cells": [{"outputs": outputs}]}), encoding="utf-8")
    (again,) = in_short.read([path]).values()
    assert again.lines == shown.lines and again.chapter == "07-name"
    assert again.claims[0].answer == "Yes <b>here</b>."


def test_a_damaged_box_names_its_notebook(tmp_path):
    path = tmp_path / "07-name.ipynb"
    outputs = [{"metadata": {MIME: {"method": "x"}}}]
    path.write_text(json.dumps({"cells": [{"outputs": outputs}]}), encoding="utf-8")
    with pytest.raises(ValueError, match=r"07-name\.ipynb"):
        in_short.read([path])


def test_the_text_follows_the_verdict():
    texts = {"supported": "Yes.", "inconclusive": "We cannot tell.", "else": "No."}
    assert choose("supported", texts) == "Yes."
    assert choose("inconclusive", texts) == "We cannot tell."
    assert choose("not supported", texts) == "No."


@pytest.mark.parametrize("texts", [{"supported": "Yes."}, {"suported": "Yes.", "else": "No."}])
def test_a_text_that_is_missing_or_misspelt_is_an_error(texts):
    with pytest.raises(ValueError, match="texts: "):
        choose("not supported", texts)
