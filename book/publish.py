"""Publish by hand: the built site on the branch ``gh-pages``, the notebooks on ``colab``.

The workflow in .github does so by itself, with ``book/push.py`` alone where it may write.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from book import notebooks
from book.address import git, pinned, repository_url, unpublished
from book.project import BUILD
from book.push import push

BRANCH = "gh-pages"
COLAB = BUILD / notebooks.BRANCH


def missing() -> str:
    """What the notebooks that Colab opens still need; empty if nothing."""
    if not repository_url():
        return (
            "The repository's address is not known, so the site would have no Colab and no source "
            "buttons. Give git the remote 'origin', or set REPOSITORY_URL."
        )
    if notebooks.write(check=True):
        return "The notebooks are older than their chapters: run 'make notebooks' and commit."
    if why := unpublished():
        return f"Colab could not install what is published: {why}."
    return ""


def write_notebooks(folder: Path) -> None:
    """Write the notebooks of the branch ``colab``, with the address and the commit filled in."""
    shutil.rmtree(folder, ignore_errors=True)
    notebooks.publish(folder, pinned(repository_url()))


def push_all(remote: str, site: Path) -> str:
    """Push the site and the notebooks; return what went wrong, empty if nothing."""
    if not (site / "index.html").exists():
        return f"There is no site in {site}."
    (site / ".nojekyll").touch()  # GitHub leaves out folders such as _static without it
    write_notebooks(COLAB)
    return push(BRANCH, site, remote) or push(notebooks.BRANCH, COLAB, remote)


def publish(step: str, folder: Path | None, remote: str) -> int:
    """Say what publishing still needs (check), write the notebooks, or push them with the site."""
    wrong = missing()
    if not wrong and step != "notebooks" and not git("remote", "get-url", remote):
        wrong = f"git has no remote {remote!r}: add it, or give REMOTE=name"
    if not wrong and step == "notebooks":
        write_notebooks(folder or COLAB)
    if not wrong and step == "push":
        wrong = push_all(remote, folder or BUILD / "site" / "cpu")
        if not wrong:
            print(f"Pushed to the branches {BRANCH} and {notebooks.BRANCH} of {remote}.")
    if wrong:
        print(wrong, file=sys.stderr)
    return bool(wrong)
