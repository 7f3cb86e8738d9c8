"""Claims: what they refuse, how they show, and how they are gathered from notebooks."""

import json
import math
from dataclasses import replace

import pytest

from companion.experiments import claims
from companion.experiments.claims import MIME, Claim, Claims
from companion.statistics import mean_interval

GOOD = {
    "id": "noise-helps",
    "quote": "Noise helps.",
    "source": "a paper, abstract",
    "verdict": "supported",
    "evidence": "It did.",
}


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
        ({"verdict": "yes"}, "verdict.*'yes'.*'supported', .*'depends', 'not supported'"),
        ({"evidence": ""}, "evidence of noise-helps: .*only 'not tested'"),
        ({"evidence": None}, "evidence of noise-helps"),
        ({"interval": (2.0, 1.0)}, "interval of noise-helps"),
        ({"interval": (0.0, math.nan)}, "interval of noise-helps"),
        ({"effect": math.inf}, "effect of noise-helps"),
        ({"seeds": 0}, "seeds of noise-helps"),
        ({"provenance": ""}, "provenance of noise-helps"),
        ({"answer": "so " * 16}, "answer of noise-helps: got 16 words; allowed are 15"),
    ],
)
def test_bad_claim(change, message):
    with pytest.raises(ValueError, match=message):
        Claim(**{**GOOD, **change})


def test_not_tested_needs_no_evidence():
    claim = Claim(**{**GOOD, "verdict": "not tested", "evidence": ""})
    assert str(claim) == "[not tested] “Noise helps.” (a paper, abstract)"


def test_quote_and_source_of_a_known_id_stand_in_one_place():
    known = next(iter(claims.catalogue()))
    claim = Claim(known, "supported", "It did.")
    assert claim.quote == claims.catalogue()[known]["quote"] and claim.source
    with pytest.raises(ValueError, match=r"id: got 'noise-helps'; allowed are the claims of"):
        Claim("noise-helps", "supported", "It did.")


def test_every_sentence_that_is_judged_has_its_claim():
    judged = {
        claim
        for work in claims.sources()["sources"]
        for sentence in work["claims"]
        for claim in sentence.get("judged", [])
    }
    assert judged and judged <= set(claims.catalogue())


def test_the_plain_answer_is_shown_where_there_is_one():
    claim = Claim(**GOOD, answer="Yes, always.", seeds=3)
    assert str(claim).splitlines() == [
        "[supported] “Noise helps.” (a paper, abstract)",
        "    Yes, always.",
        "    It did. (3 seeds; live)",
    ]
    assert "<strong>Yes, always.</strong>" in Claims([claim])._repr_html_()
    assert "<strong>" not in Claims([replace(claim, answer="")])._repr_html_()


def test_claims_refuse_a_double_id_and_strangers():
    claim = Claim(**GOOD)
    with pytest.raises(ValueError, match="'noise-helps' is there twice"):
        Claims([claim, claim])
    with pytest.raises(TypeError, match="claims: got str"):
        Claims(["claim"])


def test_html_is_escaped_and_names_the_verdict():
    text = Claims([Claim(**{**GOOD, "quote": "<script>x</script> & y"})])._repr_html_()
    assert "<script>" not in text and "&lt;script&gt;x" in text and "&amp; y" in text
    assert "● supported</span>" in text


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
    gathered = claims.read(paths)
    assert [claim.chapter for claim in gathered] == ["00_one", "01_two"]
    assert gathered[0].interval == first.interval and gathered[0].effect == first.effect
    assert [str(c) for c in gathered] == [str(first), str(second)]


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


def test_what_is_proved_names_its_test():
    proved = Claim(**{**GOOD, "verdict": "proved", "proof": "tests/test_a.py::test_b"})
    assert "test: tests/test_a.py::test_b" in Claims([proved])._repr_html_()
    for verdict, proof in (("proved", None), ("supported", "tests/test_a.py::test_b")):
        with pytest.raises(ValueError, match="proof of noise-helps: got"):
            Claim(**{**GOOD, "verdict": verdict, "proof": proof})


def test_a_note_goes_to_what_was_measured_only():
    measured = Claim("one", "supported", "Seen.", quote="a", source="b")
    proved = Claim("two", "proved", "Derived.", quote="a", source="b", proof="tests/x.py::y")
    first, second = Claims([measured, proved]).noted("Steps: 5.")
    assert first.evidence == "Seen. Steps: 5." and second == proved
