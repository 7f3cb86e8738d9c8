"""A content security policy for each page: only the site's own scripts run.

Beside the files of the site these are the theme's scripts within its pages, all outside of what
authors and records write (`article`), and the script of ``plotting.TrajectoryPlayer``. The policy
names each by its hash, so that a script which comes in with a text from outside does not run.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable

from book.project import ROOT

META = '<meta http-equiv="Content-Security-Policy" content="{}">'
SCRIPT = re.compile(
    r"<script(?![^>]*\ssrc=)(?![^>]*\stype=\"application/json\")[^>]*>(.*?)</script>", re.S
)
HANDLERS = ("toggleFullScreen()", "window.print()")
"""What the theme's buttons call. The search looks into other pages, so all pages allow both."""

ID = re.compile(r"player-[0-9a-f]{10}")
ARTICLE = re.compile(r"<article\b.*?</article>", re.S)


def add(page: str) -> str:
    """Return a page with its policy, at the beginning of its head; one that was there goes."""
    page = re.sub(META.format('[^"]*') + "\n?", "", page)
    head = re.search(r"<head>\s*", page)
    if head is None:  # jupyter-book's first page, which only leads on
        return page
    theme = ARTICLE.sub("", page)
    players = [text for text in SCRIPT.findall(page) if ID.sub("$ID", text) == player()]
    allowed = dict.fromkeys([*SCRIPT.findall(theme), *HANDLERS, *players])
    return page[: head.end()] + META.format(policy(allowed)) + "\n" + page[head.end() :]


def player() -> str:
    """The script of the player of trajectories, with ``$ID`` for the name of one."""
    text = (ROOT / "companion" / "plotting" / "player.html").read_text(encoding="utf-8")
    return SCRIPT.findall(text)[-1].replace("$$", "$")


def policy(scripts: Iterable[str]) -> str:
    """The policy that allows some scripts within a page, and no others."""
    digests = [hashlib.sha256(script.encode()).digest() for script in scripts]
    hashes = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return "; ".join(
        [
            "default-src 'self'",
            f"script-src 'self' 'unsafe-hashes' {hashes}",
            "style-src 'self' 'unsafe-inline'",  # of formulas, figures and tables
            "img-src 'self' data:",
            "font-src 'self' data:",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'self'",
        ]
    )
