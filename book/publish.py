"""Publish a built site on the branch `gh-pages` of a remote, which GitHub Pages then serves.

Usage::

    python book/publish.py check REMOTE          # says at once what is missing
    python book/publish.py push REMOTE FOLDER
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import build  # the file beside this one

BRANCH = "gh-pages"


def git(*arguments: str) -> subprocess.CompletedProcess:
    """Run git in the repository."""
    command = ["git", *arguments]
    return subprocess.run(command, cwd=build.ROOT, capture_output=True, text=True)


def missing(remote: str) -> str:
    """What publishing still needs; empty if nothing."""
    if not build.repository_url():
        return (
            "The repository's address is not known, so the site would have no Colab and no "
            "source buttons. Write it into _config.yml (repository: url) and run 'make notebooks'."
        )
    if build.notebooks(check=True):
        return "Colab would open old notebooks: run 'make notebooks' and commit the result."
    found = git("remote", "get-url", remote)
    if found.returncode:
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


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("check")
    one.add_argument("remote")
    one = commands.add_parser("push")
    one.add_argument("remote")
    one.add_argument("folder", type=Path)
    given = parser.parse_args()
    wrong = missing(given.remote)
    if not wrong and given.command == "push":
        wrong = push(given.remote, given.folder)
        if not wrong:
            print(f"Pushed to the branch {BRANCH} of {given.remote}.")
    if wrong:
        print(wrong, file=sys.stderr)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
