"""Records: what a long run left behind, with where it came from.

A record is a small JSON file (configuration, metrics, provenance) and an NPZ file of arrays named
after its own content. The JSON file holds the hash of the NPZ file and is replaced last, in one
step: whoever reads sees the old record or the new one, never a mixture.
"""

from __future__ import annotations

import ast
import contextlib
import datetime
import hashlib
import html
import importlib
import inspect
import io
import json
import linecache
import math
import os
import platform
import re
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from companion._html import STYLE

__all__ = [
    "LIMIT",
    "Missing",
    "Record",
    "RecordError",
    "fingerprint",
    "load",
    "provenance",
    "results_folder",
    "run",
]

LIMIT = 2_000_000
"""Bytes that a record may take, its two files together."""

_FORMAT = 1
_PACKAGED = Path(__file__).parent / "_results"
_PACKAGES = ("numpy", "scipy", "torchvision", "diffusers", "accelerate", "POT", "torchmetrics")


class RecordError(RuntimeError):
    """A record that is damaged, too large or not there. The message names the file."""


# --- what a record holds ------------------------------------------------------------------------


def _plain(where: str, value: Any) -> Any:
    """Bring a value to what JSON keeps: numbers, texts, lists and dicts."""
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = value.item() if value.ndim == 0 else value.tolist()
    elif isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"{where}: got the key {key!r}; allowed are texts")
        return {key: _plain(f"{where}[{key!r}]", entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(f"{where}[{i}]", entry) for i, entry in enumerate(value)]
    raise TypeError(
        f"{where}: got {type(value).__name__}; allowed are numbers, texts, tensors, and lists and "
        "dicts of them"
    )


def _array(where: str, value: Any) -> np.ndarray:
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    value = np.asarray(value)
    if value.dtype.kind not in "biufc":
        raise TypeError(f"{where}: got an array of {value.dtype}; allowed are numbers")
    return value


@dataclass(frozen=True)
class Record:
    """Result of one run.

    Parameters
    ----------
    name : str
        Small letters, digits, hyphens and underscores; also the name of its file.
    config : dict
        What the run was asked for: numbers, texts, lists and dicts.
    metrics : dict
        What it measured, with every seed's value. 0-d tensors become numbers, others lists.
    arrays : dict of str -> tensor or array
        For figures; kept as NumPy arrays.
    provenance : dict
        As ``companion.records.provenance`` gives.
    stale : tuple of str
        Why the record may not be what a run would give now; set by ``run``.
    """

    name: str
    config: dict[str, Any]
    metrics: dict[str, Any]
    arrays: dict[str, np.ndarray]
    provenance: dict[str, Any]
    stale: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self):
        _check_name(self.name)
        for kind in ("config", "metrics", "provenance"):
            value = getattr(self, kind)
            if not isinstance(value, Mapping):
                raise TypeError(f"{kind}: got {type(value).__name__}; allowed is a dict")
            object.__setattr__(self, kind, _plain(kind, value))
        arrays = {str(key): _array(f"arrays[{key!r}]", a) for key, a in self.arrays.items()}
        object.__setattr__(self, "arrays", arrays)

    @property
    def line(self) -> str:
        """Where it came from, in one line of text."""
        p = self.provenance
        commit = (p.get("commit") or "no commit")[:12] + ("+changes" if p.get("changed") else "")
        facts = [
            f"Recorded on {p.get('device', 'an unknown device')}",
            f"on {str(p.get('date', 'an unknown date'))[:10]}",
            f"commit {commit}" if p.get("commit") else commit,
        ]
        if p.get("seconds") is not None:
            facts.append(f"in {p['seconds']:.3g} s")
        if p.get("peak_memory") is not None:
            facts.append(f"peak memory {p['peak_memory'] / 2**30:.2g} GiB")
        return ", ".join(facts) + "".join(f". Warning: {reason}" for reason in self.stale) + "."

    def save(self, folder: str | Path | None = None) -> Path:
        """Write the record to a folder (default ``results_folder()``), all of it or nothing.

        Returns
        -------
        Path of the JSON file.

        Raises
        ------
        RecordError
            If it would take more than ``LIMIT`` bytes; a record that was there is kept.
        """
        folder = results_folder() if folder is None else Path(folder)
        if folder == _PACKAGED:  # an installed package is not written to
            folder = Path.cwd() / "results"
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **self.arrays)  # type: ignore[arg-type]
        content = buffer.getvalue()
        digest = hashlib.sha256(content).hexdigest()
        file = f"{self.name}.{digest[:12]}.npz"
        body = {
            "format": _FORMAT,
            "name": self.name,
            "config": self.config,
            "metrics": self.metrics,
            "provenance": self.provenance,
            "arrays": {"file": file, "sha256": digest},
        }
        text = (json.dumps(body, indent=1, ensure_ascii=False) + "\n").encode()
        if len(text) + len(content) > LIMIT:
            raise RecordError(
                f"record {self.name}: it takes {(len(text) + len(content)) / 1e6:.1f} MB; allowed "
                f"are {LIMIT / 1e6:.0f} MB. Keep fewer samples, or arrays of a smaller type"
            )
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.json"
        _write(folder / file, content)
        _write(path, text)
        for old in folder.glob(f"{self.name}.{'?' * 12}.npz"):
            if old.name != file:
                old.unlink(missing_ok=True)
        for left in folder.glob(f".{self.name}.*.partial"):  # by a process that was killed
            if time.time() - left.stat().st_mtime > 3600:
                left.unlink(missing_ok=True)
        return path

    def __repr__(self) -> str:
        return f"{self.name}: {self.line}"

    def _repr_html_(self) -> str:
        edge = ";border-left:.3em solid #D55E00;padding-left:.6em" if self.stale else ""
        return (
            f'{STYLE}<p class="nop nop-record" style="font-size:.85em{edge}">'
            f"{html.escape(self.line)}</p>"
        )


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
        raise ValueError(
            f"name: got {name!r}; allowed are small letters, digits, hyphens and underscores"
        )


def _write(path: Path, content: bytes) -> None:
    """Replace a file in one step."""
    handle, partial = tempfile.mkstemp(".partial", f".{path.name}.", path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


def load(name: str, folder: str | Path | None = None) -> Record:
    """Read a record and check that it is whole.

    Parameters
    ----------
    name : str
    folder : path, optional
        Default: ``results_folder()``.

    Raises
    ------
    FileNotFoundError
        If there is no record of that name.
    RecordError
        If its files are damaged, cut short or do not belong together; the message names the file.
    """
    _check_name(name)
    path = (results_folder() if folder is None else Path(folder)) / f"{name}.json"
    text = path.read_bytes()
    try:
        body = json.loads(text)
        if body["format"] != _FORMAT:
            raise RecordError(f"{path}: format {body['format']!r}; this version reads {_FORMAT}")
        if body["name"] != name:
            raise RecordError(f"{path}: it is the record of {body['name']!r}")
        npz, digest = path.parent / Path(body["arrays"]["file"]).name, body["arrays"]["sha256"]
        parts = {kind: body[kind] for kind in ("config", "metrics", "provenance")}
    except (ValueError, KeyError, TypeError) as error:
        what = f"no entry {error}" if isinstance(error, KeyError) else str(error)
        raise RecordError(f"{path} is damaged or cut short: {what}") from error
    try:
        content = npz.read_bytes()
    except FileNotFoundError:
        raise RecordError(f"{npz} is missing, the arrays of {path.name}") from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise RecordError(
            f"{npz} is damaged or cut short: its content ({len(content)} bytes) is not the one "
            f"that {path.name} was written with"
        )
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        try:
            return Record(name, arrays=dict(arrays), **parts)
        except TypeError as error:
            raise RecordError(f"{path} is damaged: {error}") from error


def results_folder() -> Path:
    """Folder of the records.

    The environment variable ``COMPANION_RESULTS``; else the nearest ``results`` folder that stands
    beside a ``companion`` folder, upwards from the working directory; else ``results`` in the
    working directory, if it is there; else the records that came with the package.
    """
    given = os.environ.get("COMPANION_RESULTS")
    if given:
        return Path(given).expanduser()
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "results").is_dir() and (folder / "companion").is_dir():
            return folder / "results"
    return here / "results" if (here / "results").is_dir() else _PACKAGED


# --- where it came from -------------------------------------------------------------------------


def _git(*arguments: str) -> str | None:
    """Answer of git about the folder of this package; None without git or outside of a checkout."""
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=20,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _commit() -> tuple[str | None, bool]:
    """Commit that the package is from, and whether its files differ from it."""
    given = os.environ.get("COMPANION_COMMIT")  # for a copy of the files without their history
    if given:
        return given, False
    if _git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None, False  # the package is not part of the checkout that it lies in
    return _git("rev-parse", "HEAD"), bool(_git("status", "--porcelain", "--", "."))


def _device() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    model = platform.processor() or platform.machine()
    try:
        info = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        model = re.search(r"model name\s*:\s*(.+)", info)[1].strip()  # type: ignore[index]
    except (OSError, TypeError):
        pass
    return f"CPU ({model}, {torch.get_num_threads()} threads)"


def _peak_memory() -> int | None:
    """Bytes: of the GPU since ``torch.cuda.reset_peak_memory_stats``, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def provenance(*functions: FunctionType, seconds: float | None = None) -> dict[str, Any]:
    """Gather where a result comes from.

    Parameters
    ----------
    *functions : functions that made it, for the ``fingerprint``
    seconds : float, optional
        How long they took.

    Returns
    -------
    dict with ``device``, ``versions``, ``commit`` (None outside of a git checkout), ``changed``
    (whether the package differs from the commit), ``date`` (UTC), ``seconds``, ``peak_memory`` in
    bytes (of the GPU if there is one) and ``fingerprint``.
    """
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    commit, changed = _commit()
    return {
        "device": _device(),
        "versions": versions,
        "commit": commit,
        "changed": changed,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "seconds": seconds,
        "peak_memory": _peak_memory(),
        "fingerprint": fingerprint(*functions) if functions else None,
    }


def _canonical(node: Any) -> str:
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


def _package_modules(tree: ast.AST, package: str) -> set[str]:
    """Modules of this package that a syntax tree imports; ``package`` resolves relative imports."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parent = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package
                base = f"{parent}.{base}".rstrip(".")
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return {name for name in found if name.startswith("companion.") and _source(name)}


def _source(module: str) -> Path | None:
    """Source file of a module of this package, or None if there is no such module."""
    base = Path(__file__).parent.joinpath(*module.split(".")[1:])
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def _dotted(node: ast.AST) -> str | None:
    """Name in an expression such as ``companion.noise.karras``, or None."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return ".".join([node.id, *reversed(parts)])


def _text(used: Any) -> str:
    """Source of a function or a class, of a class in a notebook's cell as well."""
    try:
        return inspect.getsource(used)
    except (OSError, TypeError):
        if not isinstance(used, type):
            raise
        # A notebook is no file, but IPython keeps the text of its cells, the newest last.
        for name, entry in reversed(list(linecache.cache.items())):
            if len(entry) == 4 and not Path(name).exists():
                text = "".join(entry[2])
                with contextlib.suppress(SyntaxError):
                    for node in ast.parse(text).body if f"class {used.__name__}" in text else ():
                        if isinstance(node, ast.ClassDef) and node.name == used.__name__:
                            return ast.unparse(node)
        raise


def fingerprint(*functions: FunctionType) -> str:
    """Hash the code that a result depends on.

    It covers the source of the functions, of the functions and classes beside them that they use,
    and the modules of ``companion`` that these use, directly or not. Comments, white space and
    docstrings do not count. Values do not either: they belong into the configuration.

    Parameters
    ----------
    *functions : Python functions, one or more

    Returns
    -------
    str of 16 hexadecimal digits.
    """
    if not functions:
        raise ValueError("functions: got none; allowed are one or more")
    texts: dict[str, str] = {}
    modules: set[str] = set()
    waiting: list[Any] = list(functions)
    while waiting:
        used = waiting.pop()
        home = getattr(used, "__module__", None) or ""
        if home == "companion" or home.startswith("companion."):
            modules.add(home)
            continue
        key = f"{'class' if isinstance(used, type) else 'function'} {used.__qualname__}"
        if key in texts:
            continue
        try:
            tree = ast.parse(textwrap.dedent(_text(used)))
        except (OSError, TypeError, SyntaxError) as error:
            raise ValueError(f"functions: the source of {used!r} cannot be read") from error
        names = {_dotted(n) for n in ast.walk(tree) if isinstance(n, ast.Name | ast.Attribute)}
        modules |= _package_modules(tree, "")
        texts[key] = _canonical(tree)
        scope = getattr(used, "__globals__", None) or vars(sys.modules.get(home, object))
        for name in filter(None, names):
            first, *rest = name.split(".")
            value = scope.get(first)
            while isinstance(value, ModuleType) and rest:
                if value.__name__.startswith("companion") and _source(
                    f"{value.__name__}.{rest[0]}"
                ):
                    importlib.import_module(f"{value.__name__}.{rest[0]}")
                value = getattr(value, rest.pop(0), None)
            if isinstance(value, ModuleType) and value.__name__.startswith("companion."):
                modules.add(value.__name__)
            elif isinstance(value, FunctionType | type):
                theirs = value.__module__ or ""
                if theirs == home or theirs.startswith("companion."):
                    waiting.append(value)
            elif (type(value).__module__ or "").startswith("companion."):
                modules.add(type(value).__module__)
    done: set[str] = set()
    while modules - done:
        module = (modules - done).pop()
        done.add(module)
        path = _source(module)
        if path is None:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        is_package = path.name == "__init__.py"
        modules |= _package_modules(tree, module if is_package else module.rpartition(".")[0])
        texts[f"module {module}"] = _canonical(tree)
    everything = "\n".join(f"{key}: {texts[key]}" for key in sorted(texts))
    return hashlib.sha256(everything.encode()).hexdigest()[:16]


# --- running or showing -------------------------------------------------------------------------


class Missing:
    """Stands where a record will be. It is false, shows as 'not yet recorded', and has no data."""

    def __init__(self, name: str, profile: str = "gpu"):
        self.name = name
        self.profile = profile

    def __bool__(self) -> bool:
        return False

    def __getattr__(self, attribute: str) -> Any:
        if attribute in ("config", "metrics", "arrays", "provenance", "line"):
            raise RecordError(f"{self}: it has no {attribute}. Test `if record:` before using it")
        raise AttributeError(attribute)

    def __repr__(self) -> str:
        return f"{self.name}: not yet recorded (it is made by the `{self.profile}` profile)"

    def _repr_html_(self) -> str:
        return (
            f'{STYLE}<p class="nop nop-record" style="border-left:.3em solid #7F7F7F;'
            f'padding-left:.6em"><strong>Not yet recorded.</strong> <code>{html.escape(self.name)}'
            f"</code> is made by the <code>{self.profile}</code> profile.</p>"
        )


def run(
    name: str,
    function: Callable[[dict[str, Any]], tuple[Mapping[str, Any], Mapping[str, Any]]],
    config: Mapping[str, Any],
    *,
    live: bool,
    folder: str | Path | None = None,
) -> Record | Missing:
    """Run an experiment and record it, or show what was recorded.

    Parameters
    ----------
    name : str
        Of the record.
    function : callable, config -> (metrics, arrays)
    config : dict
        All that the experiment needs to know; stored with the result.
    live : bool
        Run now and write the record. Else load it; ``stale`` says if the code or the configuration
        has changed since.
    folder : path, optional
        Default: ``results_folder()``. A run at a toy size belongs in a temporary folder.

    Returns
    -------
    Record, or Missing (which is false) if there is none and ``live`` is not set.
    """
    _check_name(name)
    asked: dict[str, Any] = _plain("config", dict(config))
    if live:
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        metrics, arrays = function(asked)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        where = provenance(function, seconds=time.perf_counter() - start)  # type: ignore[arg-type]
        record = Record(name, asked, dict(metrics), dict(arrays), where)
        record.save(folder)
        return record
    try:
        record = load(name, folder)
    except FileNotFoundError:
        return Missing(name)
    reasons = []
    if record.provenance.get("fingerprint") != fingerprint(function):  # type: ignore[arg-type]
        reasons.append("the code has changed since")
    keys = [*asked, *(key for key in record.config if key not in asked)]
    missing = object()
    differ = [k for k in keys if not _same(asked.get(k, missing), record.config.get(k, missing))]
    if differ:
        reasons.append(f"it was made with another configuration ({', '.join(differ)})")
    return replace(record, stale=tuple(reasons))


def _same(a: Any, b: Any) -> bool:
    return a == b or (isinstance(a, float) and isinstance(b, float) and math.isnan(a + b))
