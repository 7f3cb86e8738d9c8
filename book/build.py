"""What the Makefile cannot say clearly: run a chapter, lay out the site's sources, build the site.

Usage::

    python book/build.py run PROFILE SEED notebooks/NN.md _build/executed/PROFILE/NN.ipynb
    python book/build.py site PROFILE FOLDER [--only CHAPTER]
    python book/build.py linkcheck PROFILE
    python book/build.py notebooks [--check]
    python book/build.py script PROFILE SEED
    python book/build.py picture EXECUTED.ipynb
"""

from __future__ import annotations

import argparse
import base64
import datetime
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import yaml

ROOT = Path(__file__).resolve().parent.parent
PLACEHOLDER = "{{ repository }}"
PROFILES = ("smoke", "cpu", "long", "gpu")


# ---------------------------------------------------------------- one place for each fact
def repository_url() -> str:
    """The address of the repository: REPOSITORY_URL, else the one in _config.yml, else empty."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    url = os.environ.get("REPOSITORY_URL") or config["repository"]["url"] or ""
    return url.rstrip("/").removesuffix(".git")


def sources() -> list[Path]:
    """The chapters' sources, in the order of the book."""
    return sorted((ROOT / "notebooks").glob("[0-9]*.md"))


def fill_in_repository(notebook: nbformat.NotebookNode, url: str) -> None:
    """Put the repository's address where the first cell asks for it."""
    for cell in notebook.cells:
        if cell.cell_type == "code" and PLACEHOLDER in cell.source:
            cell.source = cell.source.replace(PLACEHOLDER, url)


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that nobody sees half of it; leave it alone if it holds the text already."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        half.write_text(text, encoding="utf-8")
        os.replace(half, path)
    finally:
        half.unlink(missing_ok=True)


# ---------------------------------------------------------------- run
def run(profile: str, seed: int, source: Path, target: Path) -> int:
    """Execute one chapter with papermill; on failure show the cell and its traceback."""
    import papermill
    from papermill.exceptions import PapermillExecutionError

    os.environ.update(COMPANION_PROGRESS="0", PYTHONHASHSEED="0", JUPYTER_PREFER_ENV_PATH="1")
    os.environ.pop("MPLBACKEND", None)  # the kernel draws inline
    if "COMPANION_DATA" in os.environ:  # the chapter runs in another folder
        os.environ["COMPANION_DATA"] = str(Path(os.environ["COMPANION_DATA"]).resolve())
    scratch = (
        ROOT / "_build" / "scratch" / profile / source.stem
    )  # what the chapter writes falls here
    scratch.mkdir(parents=True, exist_ok=True)

    notebook = jupytext.read(source)
    print(f"{source.stem}: running, profile {profile}", flush=True)
    start = time.perf_counter()
    try:
        executed = papermill.execute_notebook(
            notebook,
            None,
            parameters={"profile": profile, "seed": seed},
            cwd=str(scratch),
            progress_bar=False,
            extra_arguments=["--log-level=CRITICAL"],
            coalesce_streams=True,  # one block for what a cell prints, however it arrives
        )
    except PapermillExecutionError as error:
        print(f"\n{source.name} failed in this cell:\n", file=sys.stderr)
        print("\n".join("    " + line for line in error.source.splitlines()), file=sys.stderr)
        print("\n" + "\n".join(error.traceback), file=sys.stderr)
        return 1
    seconds = time.perf_counter() - start

    executed.metadata.pop("papermill", None)
    durations = [cell.metadata.get("papermill", {}).get("duration") for cell in executed.cells]
    for cell in executed.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
    executed.metadata["build"] = {
        "profile": profile,
        "seed": seed,
        "seconds": round(seconds, 1),
        "longest_cell_seconds": round(max(filter(None, durations), default=0.0), 1),
        "peak_memory_mib": round(peak_memory_of_children() / 2**20),
        "date": datetime.date.today().isoformat(),
        **machine(profile),
    }
    write_atomically(target, nbformat.writes(executed) + "\n")
    os.utime(target)
    facts = executed.metadata["build"]
    print(
        f"{source.stem}: {facts['seconds']} s, peak memory {facts['peak_memory_mib']} MiB",
        flush=True,
    )
    return 0


def peak_memory_of_children() -> int:
    """The largest resident size of any process that this one started (the kernel), in bytes."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def machine(profile: str) -> dict[str, str]:
    """What the times were measured on."""
    from importlib.metadata import version

    gpus: list[str] = []
    if profile == "gpu" and shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        answer = subprocess.run(query, capture_output=True, text=True)
        gpus = answer.stdout.strip().splitlines() if answer.returncode == 0 else []
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "hardware": gpus[0] if gpus else f"{cores} cores, {platform.machine()}",
        "software": f"Python {platform.python_version()}, torch {version('torch')}",
    }


# ---------------------------------------------------------------- site
def site(profile: str, folder: Path, only: str | None = None) -> int:
    """Lay out the sources as the repository does, build the site, and put it in place whole.

    With `only` the first page and one chapter, for a quick look: references to others stay open.
    """
    folder = folder.resolve()
    work = folder.parent / f".{folder.name}.new"
    shutil.rmtree(work, ignore_errors=True)
    stage(profile, work / "sources")
    command: list[Path | str] = [Path(sys.executable).with_name("jupyter-book"), "build"]
    command += [work / "sources", "--path-output", work, "--quiet", "--keep-going"]
    if only:
        toc = {"format": "jb-book", "root": "book/index", "chapters": [{"file": only}]}
        (work / "sources" / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")
    else:
        command.append("-W")
    warnings = subprocess.STDOUT if only else None
    done = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=warnings,
        text=True,
        env=sphinx_environment(work / "sources"),
    )
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        print(f"No site was built: see the warnings above. Its sources: {work}", file=sys.stderr)
        return done.returncode
    # jupyter-book's first page only redirects; without an icon browsers ask for one in vain.
    first = work / "_build" / "html" / "index.html"
    icon = '<link rel="icon" href="_static/favicon.svg" />\n'
    first.write_text(icon + first.read_text(encoding="utf-8"), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(work / "_build" / "html", folder)
    shutil.rmtree(work)
    return 0


def sphinx_environment(staged: Path) -> dict[str, str]:
    """Where Sphinx finds its extension book/pages.py, and the module as it is staged."""
    path = os.pathsep.join([str(ROOT / "book"), str(staged)])
    return {**os.environ, "PYTHONPATH": path}


def linkcheck(profile: str) -> int:
    """Ask every address that the site links to; list those that do not answer."""
    work = ROOT / "_build" / "linkcheck"
    shutil.rmtree(work, ignore_errors=True)
    stage(profile, work / "sources")
    command: list[Path | str] = [Path(sys.executable).with_name("jupyter-book"), "build"]
    command += [work / "sources", "--path-output", work, "--builder", "linkcheck"]
    environment = sphinx_environment(work / "sources")
    done = subprocess.run(
        [str(part) for part in command],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    found = work / "_build" / "html" / "output.txt"
    if not found.exists():
        print(done.stdout, file=sys.stderr)
        return 1
    dead = [line for line in found.read_text(encoding="utf-8").splitlines() if "[broken]" in line]
    print("\n".join([*dead, f"{len(dead)} addresses do not answer. Every answer: {found}"]))
    return bool(dead)


def stage(profile: str, folder: Path) -> None:
    """Write the site's sources: pages, module, each executed chapter where its source stands."""
    url = repository_url()
    ignore = shutil.ignore_patterns("__pycache__", "*.py", "_generated")
    shutil.copytree(ROOT / "book", folder / "book", ignore=ignore)
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "companion", folder / "companion", ignore=ignore)
    shutil.copy(ROOT / "_toc.yml", folder)

    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    config["repository"]["url"] = url
    if url:
        config["html"].update(use_repository_button=True, use_issues_button=True)
    else:  # no address, so no button that would lead nowhere
        del config["repository"]
    if "github.com" not in url:  # Colab opens notebooks from GitHub
        del config["launch_buttons"]
    (folder / "notebooks").mkdir()
    executed = {}
    for source in sources():
        notebook = nbformat.read(
            ROOT / "_build" / "executed" / profile / f"{source.stem}.ipynb", as_version=4
        )
        executed[source.stem] = dict(notebook.metadata["build"])
        fill_in_repository(notebook, url)
        hide_default_parameters(notebook)
        name_hidden_code(notebook)
        nbformat.write(notebook, folder / "notebooks" / f"{source.stem}.ipynb")
    config["sphinx"]["config"]["book_facts"] = executed
    text = yaml.safe_dump(config, allow_unicode=True)
    (folder / "_config.yml").write_text(text, encoding="utf-8")

    import api  # the files beside this one
    import times

    generated = folder / "book" / "_generated"
    generated.mkdir()
    api.write(folder / "book")
    (generated / "cards.md").write_text(cards(), encoding="utf-8")
    (generated / "times.md").write_text(times.page(profile, list(executed)), encoding="utf-8")
    (generated / "ledger.md").write_text(ledger_page(profile, executed), encoding="utf-8")


def hide_default_parameters(notebook: nbformat.NotebookNode) -> None:
    """Leave papermill's cell out of the page where it says what the chapter's own cell says."""
    own = next((c.source for c in notebook.cells if "parameters" in c.metadata.get("tags", [])), "")
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        said = set(cell.source.splitlines()[1:])
        if "injected-parameters" in tags and said <= set(own.splitlines()):
            cell.metadata["tags"] = [*tags, "remove-cell"]


def name_hidden_code(notebook: nbformat.NotebookNode) -> None:
    """Say on the button of a figure's cell what it shows."""
    for cell in notebook.cells:
        options = cell.metadata.get("mystnb", {})
        if "figure" in options and "hide-input" in cell.metadata.get("tags", []):
            options["code_prompt_show"] = "Show the code that made this figure"


def chapters() -> list[dict[str, Any]]:
    """The chapters in book/chapters.yml; `written` tells those that exist from those planned."""
    listed = yaml.safe_load((ROOT / "book" / "chapters.yml").read_text(encoding="utf-8"))
    written = {source.stem for source in sources()}
    return [{**chapter, "written": chapter["file"] in written} for chapter in listed]


def cards() -> str:
    """The landing page's cards: a link for a chapter that exists, 'in preparation' for another."""
    lines = ["::::{grid} 1 2 2 3", ":gutter: 2", ":class-container: chapters", ""]
    for number, chapter in enumerate(chapters()):
        lines.append(f":::{{grid-item-card}} {number} · {chapter['title']}")
        if chapter["written"]:
            lines += [f":link: /notebooks/{chapter['file']}", ":link-type: doc"]
        else:
            lines.append(":class-card: planned")
        paper = chapter["paper"] + ("" if chapter["written"] else " **In preparation.**")
        lines += ["", chapter["summary"].strip(), "", "{.paper}", paper, ":::", ""]
    return "\n".join([*lines, "::::", ""])


def ledger_page(profile: str, executed: dict[str, dict[str, Any]]) -> str:
    """The ledger of claims, read out of the executed chapters."""
    import ledger  # the file beside this one

    from companion import claims

    folder = ROOT / "_build" / "executed" / profile
    listed = ledger.read_sources()
    made = claims.read(folder / f"{source.stem}.ipynb" for source in sources())
    return ledger.page(listed, ledger.rows(listed, made), executed)


# ---------------------------------------------------------------- notebooks, scripts, picture
def paired(source: Path, url: str) -> str:
    """The text of the .ipynb beside a chapter: its cells, no outputs, the address filled in."""
    notebook = jupytext.read(source)
    notebook.metadata = nbformat.NotebookNode(kernelspec=notebook.metadata["kernelspec"])
    for index, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{index}"  # jupytext draws these at random
    fill_in_repository(notebook, url)
    return nbformat.writes(notebook, version=4) + "\n"


def notebooks(check: bool) -> int:
    """Write, or with `check` compare, the .ipynb paired with each chapter."""
    stale = []
    for source in sources():
        target, text = source.with_suffix(".ipynb"), paired(source, repository_url())
        if check:
            if not target.exists() or target.read_text(encoding="utf-8") != text:
                stale.append(target.name)
        else:
            write_atomically(target, text)
    if stale:
        print(f"run 'make notebooks': {', '.join(stale)} differ from their .md", file=sys.stderr)
    return bool(stale)


def script(source: Path, profile: str, seed: int) -> str:
    """A chapter as a plain Python script with its parameters set."""
    notebook = jupytext.read(source)
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            cell.source = f'profile = "{profile}"\nseed = {seed}'
    return jupytext.writes(notebook, fmt="py:percent")


def scripts(profile: str, seed: int) -> int:
    """Write every chapter as a script to _build/scripts/PROFILE."""
    for source in sources():
        target = ROOT / "_build" / "scripts" / profile / f"{source.stem}.py"
        write_atomically(target, script(source, profile, seed))
        print(target.relative_to(ROOT))
    return 0


def picture(executed: Path) -> int:
    """Save the figure of the cell tagged `cover` as the README's picture."""
    for cell in nbformat.read(executed, as_version=4).cells:
        if "cover" not in cell.metadata.get("tags", []):
            continue
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                target = ROOT / "book" / "_static" / "cover.png"
                target.write_bytes(base64.b64decode(output.data["image/png"]))
                print(target.relative_to(ROOT))
                return 0
    print(f"{executed} has no cell tagged 'cover' that drew a figure", file=sys.stderr)
    return 1


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("run")
    one.add_argument("profile", choices=PROFILES)
    one.add_argument("seed", type=int)
    one.add_argument("source", type=Path)
    one.add_argument("target", type=Path)
    one = commands.add_parser("site")
    one.add_argument("profile", choices=PROFILES)
    one.add_argument("folder", type=Path)
    one.add_argument("--only", help="such as notebooks/00-one-denoiser")
    one = commands.add_parser("linkcheck")
    one.add_argument("profile", choices=PROFILES)
    one = commands.add_parser("notebooks")
    one.add_argument("--check", action="store_true")
    one = commands.add_parser("script")
    one.add_argument("profile", choices=PROFILES)
    one.add_argument("seed", type=int)
    one = commands.add_parser("picture")
    one.add_argument("executed", type=Path)
    given = parser.parse_args()
    if given.command == "run":
        return run(given.profile, given.seed, given.source.resolve(), given.target)
    if given.command == "site":
        return site(given.profile, given.folder, given.only)
    if given.command == "linkcheck":
        return linkcheck(given.profile)
    if given.command == "notebooks":
        return notebooks(given.check)
    if given.command == "script":
        return scripts(given.profile, given.seed)
    return picture(given.executed)


if __name__ == "__main__":
    sys.exit(main())
