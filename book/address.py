"""The address of the repository: found, not typed, so that a fork publishes as it is.

It needs no package, for make asks it: ``python3 book/address.py FILE`` keeps the address in a file
that changes only when the address does.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
MODULE = ("companion", "results", "book/sources.yml", "pyproject.toml", "README.md", "LICENSE")
"""What pip makes the module from."""


def repository_url() -> str:
    """The address of the repository, such as ``https://github.com/OWNER/NAME``; empty if unknown.

    That is the first there is of: REPOSITORY_URL in the environment; the one in _config.yml; that
    of the repository in which GitHub Actions runs; that of the remote ``origin``.
    """
    said = os.environ.get("REPOSITORY_URL") or _configured()
    if said:
        return web_address(said) or said.rstrip("/")
    server, name = (os.environ.get(f"GITHUB_{key}") for key in ("SERVER_URL", "REPOSITORY"))
    if server and name:
        return f"{server.rstrip('/')}/{name}"
    return web_address(git("remote", "get-url", "origin"))


def web_address(remote: str) -> str:
    """The address that a browser opens for a remote of git; empty for a folder.

    A name or a password in it is left out: the address is published.

    Examples
    --------
    >>> web_address("git@github.com:owner/name.git")
    'https://github.com/owner/name'
    """
    remote = remote.strip().rstrip("/").removesuffix(".git")
    short = re.fullmatch(r"(?:[^@/:\s]+@)?([\w-]+(?:\.[\w-]+)+):(?!//)/?(\S+)", remote)
    if short:  # of SSH
        return f"https://{short[1]}/{short[2]}"
    parts = urlsplit(remote)
    if parts.scheme not in ("http", "https", "ssh", "git", "git+ssh") or not parts.hostname:
        return ""
    web = parts.scheme in ("http", "https")
    port = f":{parts.port}" if web and parts.port else ""
    return f"{parts.scheme if web else 'https'}://{parts.hostname}{port}{parts.path}"


def site_url() -> str:
    """The address of the published site, with a slash at its end; empty if unknown.

    That is SITE_URL in the environment, else where GitHub Pages puts the repository's site.
    """
    said = os.environ.get("SITE_URL", "").rstrip("/")
    if said:
        return f"{said}/"
    place = re.fullmatch(r"https://github\.com/([^/]+)/([^/]+)", repository_url())
    if not place:
        return ""
    host = f"{place[1].lower()}.github.io"
    return f"https://{host}/" if place[2].lower() == host else f"https://{host}/{place[2]}/"


def pinned(url: str) -> str:
    """The address that pip installs the module from: with the commit, if it is known and public."""
    return url if unpublished() or not url else f"{url}@{commit()}"


def commit() -> str:
    """The commit that is checked out; empty outside of a repository."""
    return git("rev-parse", "HEAD")


def unpublished() -> str:
    """Why nobody else can install the module that is here; empty if a remote has it."""
    if not commit():
        return "this folder is no git repository with a commit"
    if not git("branch", "-r", "--contains", "HEAD"):
        return "no remote has the commit that is checked out: push it first"
    if changed := git("status", "--porcelain", "--", *MODULE):
        return f"the module differs from what is committed: {' '.join(changed.split()[1::2])}"
    return ""


def git(*arguments: str) -> str:
    """What git answers in the repository; empty if it fails, or if there is no git."""
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _configured() -> str:
    text = (ROOT / "_config.yml").read_text(encoding="utf-8")
    found = re.search(r"^repository:\s*\n\s+url:[ \t]*[\"']?([^\s\"'#]*)", text, re.M)
    return found[1] if found else ""


def keep(path: Path) -> None:
    """Write the address to a file, unless it stands there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    url = repository_url()
    if not path.exists() or path.read_text(encoding="utf-8") != url:
        path.write_text(url, encoding="utf-8")


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
