"""The code that made a result, as one hash: the experiment's module and what it imports of ours."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

__all__ = ["canonical", "code_hash", "rule_files"]

PACKAGE = Path(__file__).resolve().parent.parent

NOT_COUNTED = {
    "companion.experiments.experiment",
    "companion.experiments.records",
    "companion.experiments.results",
    "companion.experiments.provenance",
    "companion.experiments.source",
    "companion.experiments.claims",
    "companion.experiments.in_short",
    "companion.progress",
    "companion.plotting",
}
"""Modules that store or show results. A change of them makes no result another one."""


def code_hash(module: str) -> str:
    """Hash a module of this package with all modules of the package that it imports.

    Comments, white space, docstrings, imports for annotations only (``if TYPE_CHECKING``) and
    modules that only store or show do not count.

    Parameters
    ----------
    module : str
        Full name, such as "companion.experiments.tweedie.race". Also a module from elsewhere, for
        an experiment that is written outside of the book: then its own file counts too.

    Returns
    -------
    str of 16 hexadecimal digits.

    Raises
    ------
    ValueError
        If its source cannot be read.
    """
    texts: dict[str, str] = {}
    waiting = {module}
    while waiting:
        name = waiting.pop()
        path = _path(name) or (_outside(name) if name == module else None)
        if path is None:
            continue
        text, imported = _read(path, name, path.stat().st_mtime_ns)
        texts[name] = text
        waiting |= imported - set(texts)
    if not texts:
        raise ValueError(f"module: the source of {module!r} cannot be read")
    everything = "\n".join(f"{name}: {texts[name]}" for name in sorted(texts))
    return hashlib.sha256(everything.encode()).hexdigest()[:16]


def canonical(path: Path) -> str:
    """Text of a file's code without comments, white space, docstrings and notes on constants."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tree.body = [
        node
        for node in tree.body
        if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    ]
    return _canonical(tree)


def rule_files(module: str) -> list[Path]:
    """Files of a chapter that its rules stand in: ``verdicts.py`` and what it imports beside it.

    Files that define an experiment do not belong to them: they measure.

    Parameters
    ----------
    module : str
        Full name of the rules' module, such as "companion.experiments.tweedie.verdicts".
    """
    package = module.rpartition(".")[0]
    files: dict[str, Path] = {}
    waiting = {module}
    while waiting:
        name = waiting.pop()
        path = _path(name)
        if path is None or name in files or not name.startswith(f"{package}."):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
        if any(node.name == "run" for c in classes for node in c.body if hasattr(node, "name")):
            continue
        files[name] = path
        waiting |= _imports(tree, package)
    return [files[name] for name in sorted(files)]


def _path(module: str) -> Path | None:
    """Source file of a module of this package, or None if there is no such module."""
    first, *rest = module.split(".")
    if first != "companion" or not rest:
        return None
    base = PACKAGE.joinpath(*rest)
    candidates = (base.with_suffix(".py"), base / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


def _outside(module: str) -> Path | None:
    import sys

    file = getattr(sys.modules.get(module), "__file__", None)
    return Path(file) if file else None


@cache
def _read(path: Path, module: str, changed: int) -> tuple[str, frozenset[str]]:
    """Canonical text of a file and the modules of this package that it imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    return _canonical(tree), frozenset(_imports(tree, package))


def _imports(tree: ast.AST, package: str) -> set[str]:
    names = set()
    for node in _executed(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parent = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package
                base = f"{parent}.{base}".rstrip(".")
            # `from package import module` imports the module; of the package itself only what its
            # __init__ defines, and that counts where no module of that name exists.
            modules = {f"{base}.{alias.name}" for alias in node.names}
            named = {name for name in modules if _path(name)}
            names |= named if named == modules else named | {base}
    return {
        name
        for name in names
        if _path(name) and not any(name == n or name.startswith(f"{n}.") for n in NOT_COUNTED)
    }


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    """Go through a syntax tree, but for what only type checkers read."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


def _canonical(node: object) -> str:
    """Text of a syntax tree without places, docstrings, and what differs between Pythons."""
    if isinstance(node, ast.AST):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            text = first.value if isinstance(first, ast.Expr) else None
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                node.body = node.body[1:]
        skip = ("ctx", "type_comment", "type_params", "type_ignores", "kind")
        parts = []
        for name, value in ast.iter_fields(node):
            if name not in skip and value is not None and value != []:
                parts.append(f"{name}={_canonical(value)}")
        return f"{type(node).__name__}({', '.join(parts)})"
    if isinstance(node, list):
        return f"[{', '.join(map(_canonical, node))}]"
    return repr(node)
