"""The hash of an experiment's code: what counts as code of a result, and what does not."""

import sys
import textwrap
import types

import pytest

from companion.experiments import source
from companion.experiments.experiment import chapters, find
from companion.experiments.source import code_hash

RACE = "companion.experiments.tweedie.race"
FILES = {
    "noise.py": "def corrupt(x, sigma):\n    return x + sigma\n",
    "oracles.py": "from companion.noise import corrupt\n",
    "samplers/__init__.py": "from companion.samplers.sequential import ddim\n",
    "samplers/sequential.py": "def ddim(x):\n    return x\n",
    "metrics.py": "def distance(a, b):\n    return abs(a - b)\n",
    "unused.py": "NOTHING = 0\n",
    "plotting/__init__.py": "PALETTE = {}\n",
    "progress.py": "def track(items):\n    return items\n",
    "experiments/__init__.py": "",
    "experiments/experiment.py": "class Experiment:\n    recorded = False\n",
    "experiments/results.py": "class Results:\n    pass\n",
    "experiments/session.py": "class Session:\n    pass\n",
    "experiments/tweedie/__init__.py": """
        from companion.experiments.tweedie import figures, tables
        from companion.experiments.tweedie.race import Race
        from companion.experiments.tweedie.verdicts import verdicts
        """,
    "experiments/tweedie/race.py": '''
        """The race."""

        from __future__ import annotations

        from dataclasses import dataclass
        from typing import TYPE_CHECKING

        from companion import oracles, progress, samplers
        from companion.experiments.experiment import Experiment
        from companion.experiments.results import Results
        from companion.experiments.tweedie.networks import WIDTH
        from .lengths import LENGTH

        if TYPE_CHECKING:
            from companion.experiments.session import Session


        @dataclass(frozen=True)
        class Race(Experiment):
            """Who wins.

            Parameters
            ----------
            steps : int
            """

            steps: int = 10

            def run(self, session: Session) -> Results:
                """Error of each method."""
                import companion.metrics

                return samplers.ddim(WIDTH * LENGTH)
        ''',
    "experiments/tweedie/networks.py": "WIDTH = 64\n",
    "experiments/tweedie/lengths.py": "LENGTH = 2\n",
    "experiments/tweedie/figures.py": "from companion import plotting\nSIZE = 3\n",
    "experiments/tweedie/tables.py": "DIGITS = 3\n",
    "experiments/tweedie/verdicts.py": "LEAST = 0.1\n",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A small package of our name."""
    top = tmp_path / "companion"
    for name, text in FILES.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip(), encoding="utf-8")
    monkeypatch.setattr(source, "PACKAGE", top)
    return top


def edited(package, name, change):
    """Whether a change of a file changes the hash of the race."""
    before = code_hash(RACE)
    path = package / name
    text = path.read_text(encoding="utf-8")
    new = change(text)
    assert new != text
    path.write_text(new, encoding="utf-8")
    source._read.cache_clear()  # time stamps of two writes may be the same
    return code_hash(RACE) != before


def more(text):
    return text + "\nEXTRA = 1\n"


@pytest.mark.parametrize(
    "name",
    [
        "experiments/tweedie/race.py",
        "experiments/tweedie/networks.py",  # from the module of its full name
        "experiments/tweedie/lengths.py",  # from a relative one
        "oracles.py",  # from companion import ...
        "noise.py",  # what oracles imports
        "samplers/__init__.py",
        "samplers/sequential.py",  # what a package re-exports
        "metrics.py",  # imported inside of a function, by its dotted name
    ],
)
def test_a_module_that_is_imported_counts(package, name):
    assert edited(package, name, more)


@pytest.mark.parametrize(
    "name",
    [
        "unused.py",
        "progress.py",
        "plotting/__init__.py",
        "experiments/experiment.py",
        "experiments/results.py",
        "experiments/session.py",  # for annotations only
        "experiments/tweedie/__init__.py",
        "experiments/tweedie/figures.py",
        "experiments/tweedie/tables.py",
        "experiments/tweedie/verdicts.py",
    ],
)
def test_what_stores_shows_or_judges_does_not(package, name):
    assert not edited(package, name, more)


@pytest.mark.parametrize(
    "old, new",
    [
        ('"""The race."""', '"""The long race."""'),
        ("Who wins.", "Who comes first."),
        ('        """Error of each method."""\n', ""),
        ("steps: int = 10", "steps: int = 10  # of the sampler"),
        ("WIDTH * LENGTH", "(WIDTH  *  LENGTH)"),
    ],
    ids=["module", "class", "function", "comment", "space"],
)
def test_docstrings_comments_and_spaces_do_not_count(package, old, new):
    assert not edited(package, "experiments/tweedie/race.py", lambda text: text.replace(old, new))


@pytest.mark.parametrize(
    "old, new",
    [
        ("WIDTH * LENGTH", "WIDTH + LENGTH"),
        ("steps: int = 10", "steps: int = 11"),
        ("samplers.ddim(", "samplers.heun("),
    ],
)
def test_a_change_of_what_is_done_counts(package, old, new):
    assert edited(package, "experiments/tweedie/race.py", lambda text: text.replace(old, new))


def test_a_new_file_is_seen_without_a_new_process(package):
    before = code_hash(RACE)
    path = package / "noise.py"
    path.write_text(more(path.read_text()))
    assert code_hash(RACE) != before


def test_a_module_from_elsewhere_counts_with_what_it_imports(tmp_path, monkeypatch, package):
    module = types.ModuleType("my_study")
    path = tmp_path / "my_study.py"
    module.__file__ = str(path)
    monkeypatch.setitem(sys.modules, "my_study", module)
    path.write_text("from companion import noise\n")
    before = code_hash("my_study")
    (package / "noise.py").write_text("EXTRA = 1\n")
    after = code_hash("my_study")
    assert after != before
    path.write_text("from companion import noise\nSTEPS = 3\n")
    assert code_hash("my_study") not in (before, after)
    with pytest.raises(ValueError, match="source of 'nowhere' cannot be read"):
        code_hash("nowhere")


def test_the_hash_of_a_module_of_the_book():
    """It is the same for each process, and another for each module."""
    points = code_hash("companion.experiments.one_denoiser.points")
    assert len(points) == 16 and points == code_hash("companion.experiments.one_denoiser.points")
    assert points != code_hash("companion.experiments.one_denoiser.digits")


@pytest.mark.parametrize("chapter", chapters())
def test_no_experiment_imports_what_only_shows_or_judges(chapter):
    """Else an edit of a figure or of a rule would run it again."""
    wrong = {}
    for cls in find(chapter):
        read, waiting = set(), {cls.__module__}
        while waiting:
            name = waiting.pop()
            read.add(name)
            path = source._path(name)
            _, imported = source._read(path, name, path.stat().st_mtime_ns)
            waiting |= imported - read
        shown = {n for n in read if n.rsplit(".", 1)[-1] in ("figures", "tables", "verdicts")}
        shown = {n for n in shown if n.startswith("companion.experiments.")}
        shown |= read & {f"companion.experiments.{chapter}"}
        if shown:
            wrong[cls.name()] = shown
    assert not wrong
