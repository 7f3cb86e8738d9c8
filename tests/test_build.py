"""The book without make: the same stages, in the same order, the same files, and it stops alike."""

from __future__ import annotations

import os
import re

import pytest
from conftest import ROOT

from book import __main__ as main
from book import build, run


@pytest.fixture
def ran(tmp_path, monkeypatch):
    """What it would run; a stage that stands in ``failing`` fails."""
    calls, failing = [], {}

    def python(*arguments):
        calls.append(tuple(map(str, arguments)))
        return failing.get(arguments[1] if arguments[0] == "book" else arguments[0], 0)

    monkeypatch.setattr(build, "python", python)
    monkeypatch.setattr(build, "BUILD", tmp_path / "_build")
    return calls, failing


def test_the_stages_are_those_of_the_makefile(ran, tmp_path):
    calls, _ = ran
    assert build.build("smoke", 3, jobs=1) == 0
    assert [call[1] for call in calls] == ["experiments", *["run"] * len(build.sources()), "site"]
    assert calls[0][:4] == ("book", "experiments", "smoke", "3")
    assert calls[0][4].endswith("_build/executed/smoke/.experiments.json")
    recipes = (ROOT / "Makefile").read_text(encoding="utf-8")
    for job in ("experiments $(1) $$(SEED) $$@", "run $(1) $$(SEED) $$< $$@", "site $(1) _build/"):
        assert f"$$(BUILD) {job}" in recipes
    for call, source in zip(calls[1:], build.sources()):
        assert call[2:4] == ("smoke", "3") and call[4] == str(source)
        assert call[5].endswith(f"_build/executed/smoke/{source.stem}.ipynb")
    assert (tmp_path / "_build" / "seed").read_text() == "3"


@pytest.mark.parametrize("stage", ["experiments", "run", "site"])
def test_it_stops_at_what_fails(ran, stage):
    calls, failing = ran
    failing[stage] = 7
    assert build.build("cpu", 0, jobs=1) == 7
    assert calls[-1][1] == stage
    assert build.test([]) == 7 and "pytest" not in [call[0] for call in calls]


def test_the_tests_run_on_what_was_built(ran):
    calls, failing = ran
    failing["pytest"] = 1
    assert build.test(["-x"]) == 1
    assert calls[-2:] == [
        ("pytest", "tests", "-x"),
        ("pytest", "--nbval-lax", *(str(build.executed("smoke", s.stem)) for s in build.sources())),
    ]


def test_a_site_is_built_again_when_what_it_is_made_from_is_newer(tmp_path, monkeypatch):
    page, source = tmp_path / "index.html", tmp_path / "source"
    source.touch()
    monkeypatch.setattr(build, "inputs", lambda profile: [source])
    assert build.is_older(page, "cpu")
    page.touch()
    assert not build.is_older(page, "cpu")
    later = page.stat().st_mtime + 1
    os.utime(source, (later, later))
    assert build.is_older(page, "cpu")


def test_it_looks_at_the_same_files_as_make():
    rule = re.search(
        r"^_build/site/\$\(1\)/index.html:(.*)$", (ROOT / "Makefile").read_text(), re.M
    )
    named = set(rule[1].split("|")[0].split())
    lists = {"$(BOOK)", "$(MODULE)", "$(RECORDS)", "$(CHAPTERS:%=_build/executed/$(1)/%.ipynb)"}
    files = {path.relative_to(ROOT).as_posix() for path in build.inputs("smoke")}
    assert lists <= named and named - lists <= files
    for name in ("book/site.py", "book/_static/book.css", "companion/noise/__init__.py"):
        assert name in files
    assert not [name for name in files if "__pycache__" in name or "_generated" in name]


def test_what_a_person_types_is_understood():
    given = main.parser().parse_args(["build"])
    assert (given.profile, given.seed, given.jobs) == ("cpu", 0, None)
    given = main.parser().parse_args(["build", "smoke", "--seed", "2", "--jobs", "1"])
    assert (given.profile, given.seed, given.jobs) == ("smoke", 2, 1)
    assert main.parser().parse_args(["test", "--", "-x"]).arguments == ["-x"]
    with pytest.raises(SystemExit):
        main.parser().parse_args(["build", "tpu"])


def test_what_a_cell_writes_to_its_standard_error_goes_to_the_log(tmp_path, capsys, monkeypatch):
    source, target = tmp_path / "00-noisy.md", tmp_path / "00-noisy.ipynb"
    head = (ROOT / "notebooks" / "00-one-denoiser.md").read_text(encoding="utf-8").split("# 0.")[0]
    code = "print('shown')\nprint('by a library', file=sys.stderr)"
    source.write_text(f"{head}```{{code-cell}} ipython3\nimport sys\n{code}\n```\n")
    monkeypatch.setattr(run, "BUILD", tmp_path)
    monkeypatch.setattr(run, "inputs", lambda chapter: [])
    assert run.run("smoke", 0, source, target) == 0
    said = capsys.readouterr().out
    assert "standard error" in said and "by a library" in said
    cells = run.nbformat.read(target, 4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    assert [(o.name, o.text) for o in outputs] == [("stdout", "shown\n")]
