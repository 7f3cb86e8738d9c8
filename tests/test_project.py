"""The project holds together: pins, packaging, notebooks and their pairs, the build."""

from __future__ import annotations

import ast
import errno
import json
import os
import re
import subprocess
import sys
import tarfile
import textwrap
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import jupytext
import nbformat
import pytest
import yaml
from conftest import ROOT, SOURCES, code_cells, make, tags
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from book import bounds, notebooks, project, times

PYTHONS = ("3.11", "3.12", "3.13", "3.14")

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


# ---------------------------------------------------------------- pins
def constraints() -> list[Requirement]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def pins(python: str, platform: str = "linux") -> dict[str, Version]:
    """What constraints.txt pins for one Python on one platform."""
    where = {
        "python_version": python,
        "python_full_version": f"{python}.9",
        "sys_platform": platform,
        "platform_machine": {"linux": "x86_64", "darwin": "arm64"}[platform],
        "os_name": "posix",
    }
    found: dict[str, Version] = {}
    for requirement in constraints():
        if requirement.marker is None or requirement.marker.evaluate(where):
            name = canonicalize_name(requirement.name)
            assert name not in found, f"{name} is pinned twice for Python {python}"
            found[name] = Version(str(requirement.specifier).removeprefix("=="))
    return found


def declared() -> list[Requirement]:
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    return [Requirement(text) for group in groups for text in group]


@pytest.mark.parametrize("platform", ["linux", "darwin"])
@pytest.mark.parametrize("python", PYTHONS)
def test_every_dependency_is_pinned_to_a_version_that_the_project_allows(python, platform):
    pinned = pins(python, platform)
    for requirement in declared():
        version = pinned.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not pinned for Python {python}"
        assert requirement.specifier.contains(version), f"{requirement} against {version}"


def test_the_pins_are_plain_versions():
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert "://" not in text and "--" not in text, "an address or an option in constraints.txt"
    for requirement in constraints():
        assert re.fullmatch(r"==[^*=]+", str(requirement.specifier)), str(requirement)
        assert not requirement.extras


def test_every_package_that_make_installs_has_the_pinned_version_and_its_hashes():
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8").replace("\\\n", " ")
    known = {(r.name, str(r.specifier)) for r in constraints()}
    names = set()
    for line in text.splitlines():
        name, hashes = line.partition(" --hash=")[::2]
        requirement = Requirement(name)
        assert (requirement.name, str(requirement.specifier)) in known, line[:80]
        assert re.fullmatch(r"(sha256:[0-9a-f]{64}[ ]*(--hash=)?)+", hashes), line[:80]
        names.add(canonicalize_name(requirement.name))
    extras = PROJECT["optional-dependencies"]
    groups = [PROJECT["dependencies"], extras["book"], extras["test"], extras["build"]]
    assert {canonicalize_name(Requirement(r).name) for group in groups for r in group} <= names


def test_what_is_installed_is_what_is_pinned():
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    pinned = pins(version, sys.platform)
    for requirement in declared():
        name = canonicalize_name(requirement.name)
        try:
            installed = Version(metadata.version(name))
        except metadata.PackageNotFoundError:  # an extra, such as JupyterLab
            continue
        assert installed.public == pinned[name].public, f"{name}: {installed} is installed"


def test_conda_gives_the_same_environment():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert environment["name"] == PROJECT["name"]
    plain = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    python = next(entry for entry in plain if entry.startswith("python="))
    assert python.removeprefix("python=") in PYTHONS
    assert {entry.split("=")[0] for entry in plain} == {"python", "pip", "make"}
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert pip == ["-c constraints.txt", "-e .[book,test,images]"]
    assert '"-c", "constraints.txt", "-e", ".[book,test,images]"' in (
        ROOT / "book" / "environment.py"
    ).read_text(encoding="utf-8")
    assert {"book", "test", "images"} <= set(PROJECT["optional-dependencies"])
    for page in ("README.md", "book/rerun.md"):  # quoted: zsh reads brackets as a pattern
        assert '-e ".[book,test,images]"' in (ROOT / page).read_text(encoding="utf-8")


def test_the_same_pythons_are_named_everywhere():
    assert PROJECT["requires-python"] == f">={PYTHONS[0]}"
    kind = "Programming Language :: Python :: 3."
    named = [text.removeprefix(kind[:-2]) for text in PROJECT["classifiers"] if kind in text]
    assert tuple(named) == PYTHONS
    for name in ("Makefile", "README.md", "book/rerun.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert f"Python {PYTHONS[0]} to {PYTHONS[-1]}" in text, name
    for name in ("pins", "release"):
        text = (ROOT / ".github" / "workflows" / f"{name}.yml").read_text(encoding="utf-8")
        assert yaml.safe_load(text)["jobs"].values()
        assert json.dumps(list(PYTHONS)) in text, name
    environment = (ROOT / "book" / "environment.py").read_text(encoding="utf-8")
    assert f"({PYTHONS[0].replace('.', ', ')})" in environment


def test_one_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    import companion

    assert citation["version"] == PROJECT["version"] == companion.__version__


def test_an_archive_of_a_release_says_what_the_citation_says():
    archive = json.loads((ROOT / ".zenodo.json").read_text(encoding="utf-8"))
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    for name in ("title", "license", "keywords"):
        assert archive[name] == citation[name], name
    assert archive["creators"] == citation["authors"]
    assert archive["upload_type"] == citation["type"] and "version" not in archive


# ---------------------------------------------------------------- packaging
@pytest.fixture(scope="session")
def packages(tmp_path_factory) -> tuple[Path, Path]:
    """The sdist, and the wheel that is built from it alone, as a user's pip does."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("packages")
    build = [sys.executable, "-m", "hatchling", "build", "-d", folder]
    subprocess.run([*build, "-t", "sdist"], cwd=ROOT, check=True, capture_output=True)
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    subprocess.run([*build, "-t", "wheel"], cwd=unpacked, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="session")
def wheel(packages) -> Path:
    return packages[1]


def test_the_wheel_holds_the_module_and_the_records(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in (ROOT / "companion").rglob("*.py"):
        assert path.relative_to(ROOT).as_posix() in names
    for path in (ROOT / "results").rglob("*"):
        if path.is_file() and not path.name.startswith("."):
            assert f"companion/_results/{path.relative_to(ROOT / 'results').as_posix()}" in names
    assert "companion/_sources.yml" in names
    foreign = {name.split("/")[0] for name in names} - {"companion"}
    assert all(name.endswith(".dist-info") for name in foreign), foreign


def test_the_sdist_holds_what_is_committed_and_no_more(packages):
    """Whoever has only the sdist can build the book and run its tests."""
    with tarfile.open(packages[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for name in ("Makefile", "book/site.py", "tests/conftest.py", "constraints.txt", "_toc.yml"):
        assert name in names, name
    assert {f"notebooks/{source.name}" for source in SOURCES} <= names
    left = [n for n in names if n.startswith(("_build", ".venv", ".git/")) or "__pycache__" in n]
    assert not left, left[:5]


@pytest.mark.parametrize("python", PYTHONS)
def test_the_wheel_installs_on_every_supported_python(wheel, python, tmp_path):
    command = [sys.executable, "-m", "pip", "install", "-q", "--dry-run", "--no-deps"]
    command += ["--python-version", python, "--only-binary=:all:", "--target", tmp_path, wheel]
    subprocess.run(command, check=True)
    feature = tuple(int(part) for part in python.split("."))
    for path in (ROOT / "companion").rglob("*.py"):
        ast.parse(path.read_text(encoding="utf-8"), str(path), feature_version=feature)


# ---------------------------------------------------------------- notebooks
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
class TestNotebook:
    def test_is_listed_under_its_heading(self, source):
        file = project.chapter_of(source.stem)
        (chapter,) = [one for one in project.chapters() if one["file"] == file]
        title = chapter["title"] if source.stem == file else f"Details: {chapter['title']}"
        first = jupytext.read(source).cells[0]
        assert first.cell_type == "markdown"
        assert first.source.splitlines()[0] == f"# {chapter['number']}. {title}"

    def test_begins_by_installing_the_module(self, source):
        cell = code_cells(source)[0]
        expected = (ROOT / "book" / "first_cell.py").read_text(encoding="utf-8").strip()
        assert cell.source.strip() == expected, "differs from book/first_cell.py"
        assert "remove-cell" in tags(cell)

    def test_has_one_cell_of_parameters(self, source):
        (cell,) = [cell for cell in code_cells(source) if "parameters" in tags(cell)]
        assert cell.source.strip() == 'profile = "cpu"\nseed = 0'

    def test_lets_colab_choose_the_profile(self, source):
        lines = [line for cell in code_cells(source) for line in cell.source.splitlines()]
        started = [line for line in lines if line == "session = experiments.start(profile, seed)"]
        assert len(started) == 1, "after the imports: session = experiments.start(profile, seed)"

    def test_is_plain_python(self, source):
        for cell in code_cells(source):
            ast.parse(cell.source, feature_version=(3, 11))

    def test_figures_have_a_name_a_caption_and_alt_text(self, source):
        for cell in code_cells(source):
            options = cell.metadata.get("mystnb", {})
            if "figure" in options:
                assert options["figure"].get("name", "").startswith("fig-"), cell.source
                assert options["figure"].get("caption"), cell.source
                assert options.get("image", {}).get("alt"), cell.source

    def test_other_pages_are_named_by_role(self, source):
        text = source.read_text(encoding="utf-8")
        assert not re.findall(r"\]\([0-9][^)]*\.(?:md|ipynb)\)", text), "write {doc}`text <page>`"

    def test_paired_notebook_is_up_to_date(self, source):
        pair = source.with_suffix(".ipynb")
        assert pair.exists(), "run 'make notebooks'"
        expected = notebooks.paired(source)
        assert pair.read_text(encoding="utf-8") == expected, "run 'make notebooks'"

    def test_the_published_notebook_names_the_repository_and_the_commit(self, source):
        address = "https://example.org/owner/name@abc"
        text = notebooks.paired(source, address)
        assert text.count(f'repository = \\"{address}\\"  # @param') == 1
        assert text.replace(address, "") == notebooks.paired(source)


def test_no_notebook_is_without_its_source():
    pairs = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert pairs == {path.stem for path in SOURCES}


# ---------------------------------------------------------------- the build
def test_make_alone_lists_the_targets():
    done = make()
    assert done.returncode == 0
    for target in [
        "book",
        "test",
        "serve",
        "lab",
        "gpu",
        "long",
        "smoke",
        "notebooks",
        "constraints",
        "clean",
    ]:
        assert re.search(rf"^  make {target} +\S", done.stdout, re.MULTILINE), target


def test_an_unknown_profile_is_refused():
    done = make("book", "PROFILE=tpu")
    assert done.returncode != 0
    assert "tpu" in done.stderr and "smoke cpu long gpu" in done.stderr


@pytest.mark.parametrize("name", ["SEED", "SEEDS", "PORT", "REMOTE", "PYTHON", "VENV", "PROFILE"])
def test_a_value_that_a_shell_would_run_is_refused(name, tmp_path):
    for value in (f"0'; touch {tmp_path}/ran; echo '", f"0; touch {tmp_path}/ran"):
        done = make("help", f"{name}={value}")
        assert done.returncode != 0 and f"{name} is '0" in done.stderr, done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["SEED", "REPOSITORY_URL", "PYTEST"])
def test_no_value_is_run(name, tmp_path):
    touch = f"touch {tmp_path}/ran"
    for value in (f"$(shell {touch})", f"`{touch}`", f"'; {touch}; '", f"'\n{touch}\n'"):
        make("help", f"{name}={value}")
        make("help", **{name: value})
    make("help")
    assert not list(tmp_path.iterdir())


FAILURES = {
    "wanted = 'a number'\nfloat(wanted)": "could not convert string to float",
    "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)": "killed, perhaps out of memory",
}


@pytest.mark.parametrize("cell, why", FAILURES.items(), ids=["error", "killed"])
def test_a_failing_chapter_shows_its_cell_and_leaves_nothing(cell, why, tmp_path):
    text = (ROOT / "book" / "first_cell.py").read_text(encoding="utf-8")
    cells = [text, "profile, seed = 'cpu', 0", cell, "print('no')"]
    tagged = [[], ["parameters"], [], []]
    notebook = jupytext.reads("# 9. Broken\n", fmt="md:myst")
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "", "language": "python"}
    for source, names in zip(cells, tagged, strict=True):
        notebook.cells.append(nbformat.v4.new_code_cell(source, metadata={"tags": names}))
    broken, target = tmp_path / "09-broken.md", tmp_path / "out" / "09-broken.ipynb"
    broken.write_text(jupytext.writes(notebook, fmt="md:myst"), encoding="utf-8")
    command = [sys.executable, "-m", "book", "run", "smoke", "0", broken, target]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert "09-broken.md failed" in done.stderr
    assert cell.splitlines()[-1] in done.stderr and "print('no')" not in done.stderr
    assert why in done.stderr
    assert not target.exists()


def test_outputs_are_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    project.write_atomically(path, "one")
    before = path.stat().st_mtime_ns
    project.write_atomically(path, "one")
    assert path.stat().st_mtime_ns == before
    with pytest.raises(UnicodeEncodeError):
        project.write_atomically(path, "two \ud800")
    assert path.read_text() == "one"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


def test_two_builds_wait_for_one_another(tmp_path):
    target = tmp_path / "site"
    script = f"""
from pathlib import Path
from book.project import alone
with alone(Path({str(target)!r})):
    print(Path({str(target)!r}).read_text(), flush=True)
"""
    with project.alone(target):
        second = subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert "Another build makes" in second.stderr.readline()
        target.write_text("whole")
    assert second.communicate()[0] == "whole\n" and second.returncode == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_kill_while_the_site_is_swapped_in_leaves_no_half_of_it(tmp_path):
    """Kill the process before each of its steps; the next start has one of the two, whole."""
    script = textwrap.dedent(f"""
        import os, shutil, signal
        from pathlib import Path
        from book.project import mend, swap

        def counted(function):
            def call(*arguments, **options):
                global left
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*arguments, **options)
            return call

        site, new = Path({str(tmp_path)!r}, "site"), Path({str(tmp_path)!r}, "new")
        for steps in range(20):
            for folder, text in ((site, "old"), (new, "new")):
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                for page in "abc":
                    (folder / page).write_text(text)
            child = os.fork()
            if not child:
                left = steps
                for name in ("replace", "rename", "unlink", "rmdir"):
                    setattr(os, name, counted(getattr(os, name)))
                swap(new, site)
                os._exit(0)
            killed = os.waitpid(child, 0)[1] == signal.SIGKILL
            def now():
                return "".join(sorted(path.read_text() for path in site.glob("*")))
            before = now()
            mend(site)
            litter = [path.name for path in site.parent.iterdir()]
            print(killed, before or "none", now(), "site" in litter and len(litter) <= 2)
    """)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    seen = done.stdout.splitlines()
    assert {line.split(" ", 1)[1] for line in seen} <= {
        "oldoldold oldoldold True",
        "none oldoldold True",
        "newnewnew newnewnew True",
    }
    assert seen[0].startswith("True") and seen[-1].startswith("False")


def test_a_full_disk_names_what_was_written_and_its_size(tmp_path, monkeypatch):
    def full(old, new):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match=r"file.txt could not be written \(No space.*takes 0.00 MB"):
        project.write_atomically(tmp_path / "file.txt", "one")
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- what comes from outside
def test_a_hostile_record_reaches_the_page_of_times_as_text(tmp_path):
    """Rendered as the site does; a device with markup of every kind, a file name with a bar."""
    from docutils.core import publish_string
    from myst_parser.parsers.docutils_ import Parser

    hostile = "<script>alert(1)</script> | `x` {raw}`html` <img src=x onerror=alert(2)> $x$ [a](b)"
    record = {"provenance": {"device": f"{hostile}\n\n# title", "date": "<b>2026"}}
    (tmp_path / "a.json").write_text(json.dumps(record), encoding="utf-8")
    page = "\n".join(times.records(tmp_path))
    shown = publish_string(page, parser=Parser(), writer_name="html5").decode()
    body = shown[shown.index("<main") :]
    assert "<script" not in body and "<img" not in body and "<b>" not in body
    assert "alert(1)" in body and body.count("<tr") == 2 and body.count("<td") == 5


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"provenance": 3}'])
def test_a_damaged_record_is_named(text, tmp_path):
    (tmp_path / "cut.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"cut\.json is damaged or cut short"):
        times.records(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "{}", '{"cells": [], "metadata": {}}'])
def test_a_damaged_notebook_is_named(text, tmp_path):
    (tmp_path / "cut.ipynb").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"cut\.ipynb is damaged"):
        project.read_notebook(tmp_path / "cut.ipynb")


# ---------------------------------------------------------------- publishing
def workflows() -> dict[str, str]:
    """The workflows and what else is in .github, by name."""
    return {
        path.stem: path.read_text(encoding="utf-8")
        for path in sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    }


def test_the_workflow_runs_the_two_commands_and_publishes_the_site():
    jobs = yaml.safe_load(workflows()["book"])["jobs"]
    runs = [step["run"].split(" #")[0] for step in jobs["build"]["steps"] if "run" in step]
    assert [run for run in runs if run in ("make book", "make test")] == ["make book", "make test"]
    folders = [step.get("with", {}).get("path") for step in jobs["build"]["steps"]]
    assert set(folders) == {None, "_build/site/cpu", "_build/colab"}
    for name in ("notebooks", "publish"):
        assert "build" in jobs[name]["needs"] and "main" in jobs[name]["if"]


@pytest.mark.parametrize("name, text", workflows().items(), ids=list(workflows()))
def test_workflows_use_actions_of_a_commit_and_may_do_no_more_than_they_need(name, text):
    used = re.findall(r"uses: [a-z]+/[a-z-]+@(.*)", text)
    assert used and all(re.fullmatch(r"[0-9a-f]{40} # v[\d.]+", one) for one in used)
    assert len(used) == text.count("uses:")
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    for job, steps in workflow["jobs"].items():
        assert "timeout-minutes" in steps, job
        may = steps.get("permissions", {})
        if may.get("contents") == "write":  # nothing that was installed runs there
            said = "\n".join(step.get("run", "") for step in steps["steps"])
            assert "make" not in said and "pip" not in said and ".venv" not in said
        else:
            for step in steps["steps"]:
                if "checkout" in step.get("uses", ""):
                    assert step["with"]["persist-credentials"] is False, job
    writers = [
        j for j, s in workflow["jobs"].items() if "write" in s.get("permissions", {}).values()
    ]
    assert writers == {"book": ["notebooks", "publish"], "release": ["release", "index"]}.get(
        name, []
    )


def test_newer_actions_are_proposed():
    text = (ROOT / ".github" / "dependabot.yml").read_text(encoding="utf-8")
    (updates,) = yaml.safe_load(text)["updates"]
    assert updates["package-ecosystem"] == "github-actions" and updates["directory"] == "/"


def test_the_bounds_are_tried_with_the_tests_of_the_core():
    for name in bounds.CORE.split():
        text = (ROOT / "tests" / f"test_{name}.py").read_text(encoding="utf-8")
        assert not re.search(r"^\s*(?:from|import) (?:book|jupytext|nbformat)\b", text, re.M), name
    text = workflows()["pins"]
    assert all(f"which: {which}" in text for which in bounds.CHOICES if which != "packages")
    assert "book/bounds.py packages" in text and "book/bounds.py packages" in workflows()["release"]
