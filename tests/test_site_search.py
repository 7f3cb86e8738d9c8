"""The search index of the site, as it is rewritten."""

from __future__ import annotations

import json

import pytest

from book import pages, search


def test_a_word_is_found_with_and_without_its_accents():
    index = search.without_accents({"fréchet": [0, 2], "frechet": 1, "noise": [3, 4]})
    assert index == {"fréchet": [0, 1, 2], "frechet": [0, 1, 2], "noise": [3, 4]}


def test_a_page_comes_first_for_the_terms_that_it_is_about(tmp_path):
    index = {
        "docnames": ["book/ledger", "notebooks/04-a"],
        "terms": {"fréchet": 0},
        "titleterms": {},
        "indexentries": {},
    }
    path = tmp_path / "searchindex.js"
    path.write_text(f"{search.HEAD}{json.dumps(index)}{search.TAIL}", encoding="utf-8")
    search.improve(tmp_path, {"notebooks/04-a": ["Fréchet distance"], "notebooks/05-b": ["not"]})
    text = path.read_text(encoding="utf-8")
    made = json.loads(text.removeprefix(search.HEAD).removesuffix(search.TAIL))
    main = [[1, "", True]]
    assert made["indexentries"] == {"fréchet distance": main, "frechet distance": main}
    assert made["terms"] == {"fréchet": 0, "frechet": 0}


def test_a_term_belongs_to_one_page():
    with pytest.raises(ValueError, match="'gamma' is claimed by two pages"):
        search.entries(["a", "b"], {"a": ["gamma"], "b": ["Gamma"]})


def test_tables_are_numbered_and_figures_can_be_enlarged():
    table = '<table class="nop nop-table" id="T_1"><caption>Errors.</caption></table>'
    bare = '<table class="nop nop-table"><tr></tr></table><table><caption>Other.</caption></table>'
    text = pages.number_tables(table + bare + table, "4.")
    assert (
        text.count("<caption>Table 4.1. Errors.") == text.count("<caption>Table 4.2. Errors.") == 1
    )
    assert "<caption>Other." in text
    figure = '<figure class="a" id="f">\n<img alt="x" src="../_images/f.png"/><figcaption>'
    assert '<a class="nop-enlarge" href="../_images/f.png"' in pages.enlargeable(figure)
