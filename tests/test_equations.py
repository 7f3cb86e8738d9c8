"""Every numbered equation of a chapter is checked by a test that carries its label."""

import re

import pytest
from conftest import ROOT, SOURCES

from book.project import DETAILS

TESTS = "".join(p.read_text() for p in (ROOT / "tests").glob("test_*.py"))


@pytest.mark.parametrize("chapter", SOURCES, ids=lambda p: p.stem)
def test_every_equation_has_its_test(chapter):
    text = chapter.read_text()
    labels = re.findall(r"^\$\$ \((eq-[a-z0-9-]+)\)", text, flags=re.MULTILINE)
    assert labels or chapter.stem.endswith(DETAILS)
    assert len(labels) == len(set(labels))
    missing = [label for label in labels if not re.search(rf"\b{label}\b(?!-)", TESTS)]
    assert not missing, f"no test carries {missing}"
