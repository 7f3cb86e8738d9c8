"""The reference of `companion`: a page for each module, and which chapter uses which name."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import jupytext

from book.project import ROOT


@cache
def exported(path: Path) -> list[str]:
    """The names in the `__all__` of a file, which may unpack lists or dicts above it; or none."""
    known: dict[str, ast.expr] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign):
            known[ast.unparse(node.targets[0])] = node.value
    return _names(known["__all__"], known) if "__all__" in known else []


def _names(value: ast.expr, known: dict[str, ast.expr]) -> list[str]:
    if isinstance(value, ast.Name):
        return _names(known[value.id], known)
    if isinstance(value, ast.Starred):
        return _names(value.value, known)
    if isinstance(value, ast.Dict):
        return [ast.literal_eval(key) for key in value.keys if key is not None]
    if isinstance(value, ast.List | ast.Tuple):
        return [name for entry in value.elts for name in _names(entry, known)]
    return [ast.literal_eval(value)]


@cache
def modules() -> dict[str, Path]:
    """The public modules, by name: those of the package, and files that no package re-exports."""
    package = ROOT / "companion"
    public = {}
    for path in sorted(package.rglob("*.py")):
        names = exported(path)
        inside = path.parent if path.name == "__init__.py" else path.with_suffix("")
        above = [] if inside.parent in (package, ROOT) else exported(path.parent / "__init__.py")
        if names and inside != package and not set(names) & set(above):
            public[".".join(inside.relative_to(ROOT).parts)] = path
    return public


def reexported(path: Path) -> dict[str, str]:
    """The names in `__all__` that come from another public module, each with that module."""
    public, names = modules(), set(exported(path))
    return {
        alias.name: node.module
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ImportFrom)
        and node.module in public
        and public[node.module] != path
        for alias in node.names
        if alias.name in names
    }


def summary(path: Path) -> str:
    """The first sentence of a file's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split())


def uses(sources: list[Path]) -> dict[str, list[str]]:
    """For each name of `companion` the chapters whose code says it, in the order of the book."""
    by_name: dict[str, list[str]] = {}
    entries = {
        f"{name}.{listed}": f"{origin}.{listed}"
        for name, path in modules().items()
        for listed, origin in reexported(path).items()
    }
    for source in sources:
        cells = [c.source for c in jupytext.read(source).cells if c.cell_type == "code"]
        tree = ast.parse("\n".join(cells))
        local: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("companion"):
                local |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
            elif isinstance(node, ast.Import):
                local |= {a.name: a.name for a in node.names if a.name == "companion"}
        said = set(local.values())
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                base, _, rest = ast.unparse(node).partition(".")
                if base in local and rest.replace(".", "").isidentifier():
                    said.add(f"{local[base]}.{rest}")
        for name in {entries.get(name, name) for name in said}:
            by_name.setdefault(name, []).append(source.stem)
    return by_name


def write(folder: Path) -> None:
    """Write the reference's pages, and the table of them, into a folder of the site's sources."""
    table = ["| module | what is in it |", "|---|---|"]
    (folder / "api").mkdir()
    (folder / "_generated").mkdir(exist_ok=True)
    for name, path in modules().items():
        package, _, last = name.rpartition(".")
        elsewhere = reexported(path)
        links = [f"[`{n}`](#{origin}.{n})" for n, origin in elsewhere.items()]
        page = (
            f"(api-{name})=\n\n# {last}\n\n`from {package} import {last}`\n\n"
            + (f"Also here: {', '.join(links)}.\n\n" if links else "")
            + f"```{{eval-rst}}\n.. automodule:: {name}\n"
            + (f"   :exclude-members: {', '.join(elsewhere)}\n" if elsewhere else "")
            + "```\n"
        )
        (folder / "api" / f"{name}.md").write_text(page, encoding="utf-8")
        table.append(f"| [{name}](api/{name}.md) | {summary(path)} |")
    (folder / "_generated" / "api.md").write_text("\n".join([*table, ""]), encoding="utf-8")
