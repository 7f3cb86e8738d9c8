"""Publish a built site on the branch `gh-pages` of a remote, which GitHub Pages then serves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from book import notebooks
from book.address import repository_url
from book.project import BUILD, ROOT

BRANCH = "gh-pages"


def git(*arguments: str) -> subprocess.CompletedProcess:
    """Run git in the repository."""
    command = ["git", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def missing(remote: str) -> str:
    """What publishing still needs; empty if nothing."""
    if not repository_url():
        return (
            "The repository's address is not known, so the site would have no Colab and no "
            "source buttons. Write it into _config.yml (repository: url) and run 'make notebooks'."
        )
    if notebooks.write(check=True):
        return "Colab would open old notebooks: run 'make notebooks' and commit the result."
    there = git("remote", "get-url", remote)
    if there.returncode:
        return f"git has no remote {remote!r}: git remote add {remote} ADDRESS, or give REMOTE=name"
    return ""


def push(remote: str, folder: Path) -> str:
    """Put the folder on the branch and push it; return what went wrong, empty if nothing."""
    from ghp_import import GhpError, ghp_import

    if not (folder / "index.html").exists():
        return f"There is no site in {folder}."
    git("fetch", remote, f"+refs/heads/{BRANCH}:refs/remotes/{remote}/{BRANCH}")  # if it is there
    commit = git("rev-parse", "--short", "HEAD").stdout.strip()
    try:
        ghp_import(
            str(folder.resolve()),
            remote=remote,
            branch=BRANCH,
            mesg=f"The site of {commit}",
            push=True,
            nojekyll=True,
            stderr=True,
        )
    except (GhpError, subprocess.CalledProcessError) as error:
        return f"The push to {remote} failed: {error}"
    return ""


def publish(step: str, remote: str, folder: Path | None) -> int:
    """Say what publishing still needs, or push the site in a folder."""
    wrong = missing(remote)
    if not wrong and step == "push":
        wrong = push(remote, folder or BUILD / "site" / "cpu")
        if not wrong:
            print(f"Pushed to the branch {BRANCH} of {remote}.")
    if wrong:
        print(wrong, file=sys.stderr)
    return bool(wrong)
