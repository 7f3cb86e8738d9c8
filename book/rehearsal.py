"""A rehearsal of a fork: somebody copies the repository, turns Pages on, and pushes.

A bare repository stands for the copy at an address of its own. The workflow's steps run in a
checkout of it, as GitHub Actions would run them; then the notebook that the site's Colab button
leads to is opened in a stand-in for Colab and run to its end. Nothing is configured on the way.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import yaml

from book import colab, environment, notebooks
from book.project import BUILD, ROOT, sources

OWNER = "somebody/their-copy"
ADDRESS = f"https://github.com/{OWNER}"
SITE = "make book"
NOTEBOOKS = ".venv/bin/python -m book publish notebooks _build/colab"
PUSH = "python3 book/push.py colab _build/colab"


class Fork(NamedTuple):
    """A copy of the repository at ``ADDRESS``, checked out as by GitHub Actions."""

    bare: Path
    checkout: Path
    commit: str
    variables: dict[str, str]

    def git(self, *arguments: str) -> str:
        """What git says of the copy."""
        command = ["git", "-C", str(self.bare), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def step(self, command: str) -> None:
        """Run a step of the workflow, which has to have it to the letter, in the checkout."""
        steps = [step.get("run", "") for job in workflow().values() for step in job["steps"]]
        if command not in [line.split(" #")[0] for step in steps for line in step.splitlines()]:
            raise RuntimeError(f"the workflow has no step {command!r}")
        done = subprocess.run(
            ["bash", "-e", "-c", command],
            cwd=self.checkout,
            env=self.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"{command!r} failed in the fork:\n{done.stdout[-4000:]}")

    def published(self, chapter: str) -> str:
        """The notebook of a chapter on the branch that the Colab buttons open."""
        return self.git("show", f"{notebooks.BRANCH}:notebooks/{chapter}.ipynb")


def workflow() -> dict:
    """The jobs of the workflow that builds and publishes the book."""
    text = (ROOT / ".github" / "workflows" / "book.yml").read_text(encoding="utf-8")
    return yaml.safe_load(text)["jobs"]


def fork(folder: Path) -> Fork:
    """Copy what is committed to a bare repository in a folder, and check it out."""
    bare, checkout, settings = (folder / name for name in ("fork.git", "checkout", "gitconfig"))
    # Whoever asks for the address is served from the bare repository.
    settings.write_text(f'[url "{bare}"]\n\tinsteadOf = {ADDRESS}\n[gc]\n\tauto = 0\n')

    def git(*arguments: object) -> str:
        done = subprocess.run(
            ["git", *map(str, arguments)],
            env={**os.environ, "GIT_CONFIG_GLOBAL": str(settings)},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    if not (Path(sys.prefix) / environment.READY).exists():  # else make would install into it
        raise RuntimeError(f"{sys.prefix} is not an environment that make made")
    git("clone", "-q", "--bare", ROOT, bare)
    commit = git("-C", ROOT, "rev-parse", "HEAD")
    git("-C", bare, "update-ref", "refs/heads/main", commit)
    git("-C", bare, "symbolic-ref", "HEAD", "refs/heads/main")
    git("clone", "-q", ADDRESS, checkout)
    (checkout / ".venv").symlink_to(sys.prefix)  # the environment is not made again
    for name in environment.PINS:
        os.utime(checkout / name, (0, 0))
    ours = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "REPOSITORY_URL")
    variables = {name: value for name, value in os.environ.items() if name not in ours}
    variables |= {
        "CI": "true",
        "GITHUB_ACTIONS": "true",
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_REPOSITORY": OWNER,
        "GIT_CONFIG_GLOBAL": str(settings),
        "PYTHONPATH": str(checkout),
        "PROFILE": "smoke",
    }
    for role in ("AUTHOR", "COMMITTER"):
        variables |= {f"GIT_{role}_NAME": "a runner", f"GIT_{role}_EMAIL": "a@example.org"}
    return Fork(bare, checkout, commit, variables)


def publish_notebooks(copy: Fork) -> None:
    """The steps of the workflow from which the branch of the notebooks comes."""
    copy.step(NOTEBOOKS)
    copy.step(PUSH)


def button(copy: Fork, chapter: str) -> str:
    """Where the Colab button of a chapter's page leads, as a path on a branch of the fork.

    Raises
    ------
    RuntimeError
        If there is no button, or it leads to another repository.
    """
    page = copy.checkout / "_build" / "site" / "smoke" / "notebooks" / f"{chapter}.html"
    found = set(re.findall(r'href="(https://colab\.[^"]*)"', page.read_text(encoding="utf-8")))
    start = f"https://colab.research.google.com/github/{OWNER}/blob/"
    if len(found) != 1 or not (address := found.pop()).startswith(start):
        raise RuntimeError(f"{page.name} has the Colab buttons {sorted(found) or address}")
    return address.removeprefix(start).replace("/", ":", 1)


def installed(machine: colab.Colab) -> dict[str, str]:
    """What pip wrote down about where the module came from: ``url`` and ``commit``."""
    code = "from importlib.metadata import distribution as d\n"
    text = machine.ask(f"{code}print(d('noise-on-purpose').read_text('direct_url.json'))")
    origin = json.loads(text)
    return {"url": origin["url"], "commit": origin["vcs_info"]["commit_id"]}


def run() -> int:
    """The whole rehearsal; prints what holds and how long it took, and stops at what does not."""
    with tempfile.TemporaryDirectory() as scratch:
        folder, began = Path(scratch), time.perf_counter()

        def say(what: str) -> None:
            print(f"{time.perf_counter() - began:6.1f} s  {what}", flush=True)

        copy = fork(folder)
        say(f"{ADDRESS} has the commit {copy.commit[:7]}")
        there = BUILD / "executed" / "smoke"
        if there.exists():  # those that rest on nothing else are not run again
            shutil.copytree(there, copy.checkout / "_build" / "executed" / "smoke")
        copy.step(SITE)
        say("its site is built")
        publish_notebooks(copy)
        say(f"its branch {notebooks.BRANCH} is pushed")
        for source in sources():
            copy.git("cat-file", "-e", button(copy, source.stem))
        say("every Colab button leads to a notebook on that branch")
        first = sources()[0].stem
        (folder / f"{first}.ipynb").write_text(copy.published(first), encoding="utf-8")
        elsewhere = folder / "elsewhere"
        elsewhere.mkdir()
        machine = colab.make(folder / "colab")
        done = machine.run(
            folder / f"{first}.ipynb",
            folder / "executed.ipynb",
            elsewhere,
            GIT_CONFIG_GLOBAL=copy.variables["GIT_CONFIG_GLOBAL"],
        )
        if done.returncode:
            raise RuntimeError(f"{first}.ipynb fails in Colab:\n{done.stderr[-4000:]}")
        cells = json.loads((folder / "executed.ipynb").read_text(encoding="utf-8"))["cells"]
        took = next(c["metadata"]["papermill"]["duration"] for c in cells if "outputs" in c)
        say(f"{first}.ipynb runs to its end in an environment like Colab's")
        say(f"its first cell, which installs the module, took {took:.0f} s")
        if (origin := installed(machine)) != {"url": ADDRESS, "commit": copy.commit}:
            raise RuntimeError(f"the module came from {origin}")
        say(f"its module came from {ADDRESS} at {copy.commit[:7]}")
    return 0
