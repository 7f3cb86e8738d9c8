"""Put a folder on a branch of a remote as it is: ``python3 book/push.py BRANCH FOLDER [REMOTE]``.

It needs git and a bare Python. So the job of the workflow that may write to the repository runs
nothing else.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def push(branch: str, folder: Path, remote: str = "origin", root: Path = ROOT) -> str:
    """Make what a folder holds the next commit of a branch, and push it.

    Neither the branch that is checked out nor git's index is touched.

    Parameters
    ----------
    branch : name of the branch; one that is not there yet begins with this commit
    folder : what it will hold, and nothing else
    remote : name of the remote
    root : the repository; its commit is named in the message

    Returns
    -------
    str, what went wrong; empty if nothing.
    """
    if not folder.is_dir() or not any(folder.iterdir()):
        return f"There is nothing in {folder}."
    known = f"refs/remotes/{remote}/{branch}"
    try:
        store = git(root, "rev-parse", "--absolute-git-dir")
        if git(root, "ls-remote", remote, f"refs/heads/{branch}"):
            git(root, "fetch", "-q", remote, f"+refs/heads/{branch}:{known}")
            parents = ["-p", git(root, "rev-parse", known)]
        else:
            parents = []
        with tempfile.TemporaryDirectory() as scratch:
            here = (f"--git-dir={store}", f"--work-tree={folder.resolve()}")
            index = {"GIT_INDEX_FILE": str(Path(scratch) / "index")}
            raw = ("-c", "core.autocrlf=false")
            git(folder, *here, *raw, "add", "--all", "--force", ".", **index)
            tree = git(folder, *here, "write-tree", **index)
        if parents and git(root, "rev-parse", f"{known}^{{tree}}") == tree:
            return ""  # it holds that already
        message = f"Made from {git(root, 'rev-parse', 'HEAD')}"
        commit = git(root, "commit-tree", tree, *parents, "-m", message)
        git(root, "push", "-q", remote, f"{commit}:refs/heads/{branch}")
    except subprocess.CalledProcessError as error:
        return f"{branch} could not be pushed to {remote}: {error.stderr.strip()}"
    return ""


def git(folder: Path, *arguments: str, **environment: str) -> str:
    """Run git in a folder; return what it says."""
    done = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


if __name__ == "__main__":
    remote = sys.argv[3] if len(sys.argv) > 3 else "origin"
    wrong = push(sys.argv[1], Path(sys.argv[2]), remote)
    sys.exit(wrong or None)
