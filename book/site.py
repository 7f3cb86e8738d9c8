"""Build the site: lay out its sources, let jupyter-book make the pages, put them in place whole.

The sources, what Sphinx read out of them and the pages that it wrote stay in _build/sphinx/PROFILE,
so that the next build reads and writes only what changed. The site is a finished copy of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import yaml

from book import (
    api,
    guide,
    landing,
    ledger,
    ledger_data,
    notebooks,
    pages,
    playground,
    share,
    times,
)
from book.address import pinned, repository_url
from book.project import BUILD, ROOT, executed, read_notebook, sources, swap
from companion.experiments import Session, in_short
from companion.experiments.claims import sources as sources_of_claims

UNFINISHED = "unfinished"
"""A file beside the sources while a build runs: what an interrupted one left is not trusted."""


def site(profile: str, folder: Path, only: str | None = None) -> int:
    """Build the site of a profile from its executed chapters.

    With `only` the first page and one chapter, for a quick look: references to others stay open.

    Returns
    -------
    int, 0 or, if there was a warning, another number. Then the site that was there stays.
    """
    folder = folder.resolve()
    work = BUILD / "sphinx" / (f"{profile}-part" if only else profile)
    begin(work, ends_at=fingerprint(only))
    facts = lay_out(profile, work, only)
    options = ["--quiet", "--keep-going", *([] if only else ["-W"])]
    done = jupyter_book(work, *options, quiet=bool(only))
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        print("No site was built: see the warnings above.", file=sys.stderr)
        return done.returncode
    html = work / "finished"
    shutil.rmtree(html, ignore_errors=True)
    shutil.copytree(work / "_build" / "html", html)
    # jupyter-book's first page only redirects; without an icon browsers ask for one in vain.
    first = html / "index.html"
    head = '<link rel="icon" href="_static/favicon.svg" />\n<title>Noise on Purpose</title>\n'
    first.write_text(head + first.read_text(encoding="utf-8"), encoding="utf-8")
    unused = pages.finish(html, facts)
    rows = ledger_data.entries([row.claim for row in ledger.table(profile)], facts)
    share.write(html, rows)
    if unused and not only:
        print("REPAIRS of book/pages.py that no page needs any more:", file=sys.stderr)
        print(*(f"  {old}" for old in unused), sep="\n", file=sys.stderr)
        print("Has the theme changed? Take them out, or correct them.", file=sys.stderr)
        return 1
    swap(html, folder)
    (work / UNFINISHED).unlink()
    return 0


def linkcheck(profile: str) -> int:
    """Ask every address that the site links to; list those that do not answer."""
    work = BUILD / "sphinx" / f"{profile}-links"
    shutil.rmtree(work, ignore_errors=True)
    lay_out(profile, work)
    done = jupyter_book(work, "--builder", "linkcheck", quiet=True)
    answers = work / "_build" / "html" / "output.txt"
    if not answers.exists():
        print(done.stdout, file=sys.stderr)
        return 1
    lines = answers.read_text(encoding="utf-8").splitlines()
    dead = [line for line in lines if "[broken]" in line]
    print("\n".join([*dead, f"{len(dead)} addresses do not answer. Every answer: {answers}"]))
    return bool(dead)


def jupyter_book(work: Path, *options: str, quiet: bool) -> subprocess.CompletedProcess:
    """Run jupyter-book on work/sources; it finds its extension book/pages.py, and the module."""
    command: list[Path | str] = [Path(sys.executable).with_name("jupyter-book"), "build"]
    command += [work / "sources", "--path-output", work, *options]
    return subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if quiet else None,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


# --- what stays from build to build


def begin(work: Path, ends_at: str) -> None:
    """Make the folder of a build ready. What cannot be trusted, or is of another kind, goes."""
    state, marker = work / "state", work / UNFINISHED
    if marker.exists() or not state.exists() or state.read_text() != ends_at:
        shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    marker.touch()
    state.write_text(ends_at)


def fingerprint(only: str | None) -> str:
    """Of all that can change every page: settings, this package, the pages and their titles."""
    inputs = [ROOT / name for name in ("_config.yml", "_toc.yml", "constraints.txt")]
    inputs += sorted((ROOT / "book").glob("*.py")) + sorted((ROOT / "book").glob("*.bib"))
    inputs += sorted(path for path in (ROOT / "book" / "_static").rglob("*") if path.is_file())
    parts = [path.read_bytes() for path in inputs]
    titles = [(str(page), title(page)) for page in pages_of_the_book()]
    parts += [repr([only, repository_url(), *titles]).encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def pages_of_the_book() -> Iterator[Path]:
    """The sources of all pages."""
    yield from sources()
    yield from sorted((ROOT / "book").glob("*.md"))
    yield from api.modules().values()


def title(page: Path) -> str:
    """The heading of a page, which the lists of pages on all others show."""
    lines = page.read_text(encoding="utf-8").splitlines() if page.suffix == ".md" else []
    return next((line for line in lines if line.startswith("# ")), "")


def synchronize(new: Path, old: Path) -> None:
    """Make a folder the same as another; a file that is the same already keeps its time."""
    names = {path.relative_to(new) for path in new.rglob("*") if path.is_file()}
    for path in list(old.rglob("*")):
        if path.is_file() and path.relative_to(old) not in names:
            path.unlink()
    for name in names:
        source, target = new / name, old / name
        if target.exists() and target.read_bytes() == source.read_bytes():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


# --- the sources


def lay_out(profile: str, work: Path, only: str | None = None) -> dict[str, dict[str, Any]]:
    """Bring work/sources up to date; return the build's facts of each chapter."""
    new = work / "new"
    shutil.rmtree(new, ignore_errors=True)
    facts = stage(profile, new)
    if only:
        toc = {"format": "jb-book", "root": "book/index", "chapters": [{"file": only}]}
        (new / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")
    synchronize(new, work / "sources")
    shutil.rmtree(new)
    (work / pages.FACTS).write_text(json.dumps(facts), encoding="utf-8")
    return facts


def stage(profile: str, folder: Path) -> dict[str, dict[str, Any]]:
    """Write the site's sources: the pages, and each executed chapter where its source stands."""
    ignore = shutil.ignore_patterns("__pycache__", "*.py", "_generated")
    shutil.copytree(ROOT / "book", folder / "book", ignore=ignore)
    playground.bundle(folder / "book" / "_static")
    shutil.copy(ROOT / "_toc.yml", folder)
    url = repository_url()
    (folder / "notebooks").mkdir()
    facts = {}
    for source in sources():
        notebook = read_notebook(executed(profile, source.stem))
        facts[source.stem] = dict(notebook.metadata["build"])
        notebooks.fill_in_repository(notebook, pinned(url))
        hide_default_parameters(notebook)
        name_hidden_code(notebook)
        nbformat.write(notebook, folder / "notebooks" / f"{source.stem}.ipynb")
    text = yaml.safe_dump(settings(url), allow_unicode=True)
    (folder / "_config.yml").write_text(text, encoding="utf-8")

    api.write(folder / "book")
    generated = folder / "book" / "_generated"
    boxes = in_short.read(executed(profile, source.stem) for source in sources())
    judged = ledger.table(profile)
    session = Session(profile, next(iter(facts.values()))["seed"])
    claims = {row.claim.id: row.claim for row in judged}
    written = {
        "doors": landing.doors(facts, landing.other_pages()),
        "cards": landing.cards(boxes),
        "tally": landing.tally(claims.values()),
        "guide": guide.page(boxes, claims, guide.races(session)),
        "times": times.page(profile, list(facts)),
        "ledger": ledger.page(sources_of_claims()["sources"], judged, facts),
    }
    for name, text in written.items():
        (generated / f"{name}.md").write_text(text, encoding="utf-8")
    return facts


def settings(url: str) -> dict[str, Any]:
    """The settings in _config.yml, with buttons only where they lead somewhere."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    config["repository"] = {"url": url, "path_to_book": "", "branch": notebooks.BRANCH}
    if url:
        config["html"].update(use_repository_button=True, use_issues_button=True)
    else:
        del config["repository"]
    if "github.com" not in url:  # Colab opens notebooks from GitHub
        del config["launch_buttons"]
    return config


def hide_default_parameters(notebook: nbformat.NotebookNode) -> None:
    """Leave out of the page the cell of parameters, and papermill's where it says the same."""
    own = next((c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])), None)
    if own is None:
        return
    own.metadata["tags"] = [*own.metadata["tags"], "remove-cell"]
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        said = set(cell.source.splitlines()[1:])
        if "injected-parameters" in tags and said <= set(own.source.splitlines()):
            cell.metadata["tags"] = [*tags, "remove-cell"]


def name_hidden_code(notebook: nbformat.NotebookNode) -> None:
    """Say on the button of a figure's cell what it shows."""
    for cell in notebook.cells:
        options = cell.metadata.get("mystnb", {})
        if "figure" in options and "hide-input" in cell.metadata.get("tags", []):
            options["code_prompt_show"] = "Show the code that made this figure"
