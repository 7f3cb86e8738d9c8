"""Results on disk: those that are remembered, and the records that are committed. One format.

A result is a small JSON file (settings, table, facts, provenance) and an NPZ file of arrays named
after its own content. The JSON file holds the hash of the NPZ file and is replaced last, in one
step: whoever reads sees the old result or the new one, never a mixture. Writers of one folder wait
for one another.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import re
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from companion.experiments.results import Results

__all__ = [
    "LIMIT",
    "RecordError",
    "check_writable",
    "confirm",
    "keep",
    "kept",
    "load",
    "memory_folder",
    "plain",
    "records_folder",
    "save",
]

LIMIT = 2_000_000
"""Bytes that a committed record may take, its two files together."""

PARTS = "parts"
"""Folder, inside of that of the records, of the parts of those that are being made."""

LOCK = ".lock"
"""File in a folder of results; a process that writes there holds it."""

FORMAT = 2
_PACKAGED = Path(__file__).resolve().parent.parent / "_results"


class RecordError(RuntimeError):
    """A result on disk that is damaged, too large or not there. The message names the file."""


def plain(where: str, value: Any, other: Callable[[Any], str] | None = None) -> Any:
    """Bring a value to what JSON keeps: numbers, texts, lists and dicts.

    Parameters
    ----------
    where : str
        What the value is, for the error.
    value : anything
    other : callable, optional
        Makes a text of anything else (default: that is an error).

    Raises
    ------
    TypeError
        If it holds anything else; the message says where.
    """
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = value.item() if value.ndim == 0 else value.tolist()
    elif isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str) and other is None:
                raise TypeError(f"{where}: got the key {key!r}; allowed are texts")
        return {str(key): plain(f"{where}[{key!r}]", entry, other) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(f"{where}[{i}]", entry, other) for i, entry in enumerate(value)]
    if other is not None:
        return other(value)
    raise TypeError(
        f"{where}: got {type(value).__name__}; allowed are numbers, texts, tensors, and lists and "
        "dicts of them"
    )


def save(results: Results, name: str, folder: Path, limit: int | None = None) -> Path:
    """Write results to a folder, all of it or nothing.

    Parameters
    ----------
    results : Results
    name : str
        Of the file, without its ending: letters, digits, dots, hyphens and underscores.
    folder : path
        Made if it is not there.
    limit : int, optional
        Bytes that it may take.

    Returns
    -------
    Path of the JSON file.

    Raises
    ------
    RecordError
        If it would take more than ``limit`` bytes; a result that was there is kept.
    TypeError
        If the table or the facts hold what JSON cannot; the message says where.
    OSError
        If a file cannot be written; the message names it, with its size and what is free.
    """
    _check_name(name)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **results.arrays)  # type: ignore[arg-type]
    content = buffer.getvalue()
    digest = hashlib.sha256(content).hexdigest()
    file = f"{name}.{digest[:12]}.npz"
    body = {
        "format": FORMAT,
        "experiment": results.experiment,
        "profile": results.profile,
        "seed": results.seed,
        "settings": plain("settings", results.settings),
        "facts": plain("facts", results.facts),
        "provenance": plain("provenance", results.provenance),
        "arrays": {"file": file, "sha256": digest},
        "table": plain("table", {c: results.table[c].tolist() for c in results.table}),
    }
    text = _dump(body).encode()
    if limit is not None and len(text) + len(content) > limit:
        raise RecordError(
            f"record {name}: it takes {(len(text) + len(content)) / 1e6:.1f} MB; allowed are "
            f"{limit / 1e6:.0f} MB. Keep fewer samples, or arrays of a smaller type"
        )
    path = folder / f"{name}.json"
    with alone(folder):
        write(folder / file, content)
        write(path, text)
        for old in folder.glob(f"{name}.{'?' * 12}.npz"):
            if old.name != file:
                old.unlink(missing_ok=True)
        for left in folder.glob(".*.partial"):  # by a process that was killed
            with contextlib.suppress(FileNotFoundError):
                if time.time() - left.stat().st_mtime > 3600:
                    left.unlink()
    return path


def keep(results: Results, name: str, folder: Path) -> Results:
    """Save the results of a run; if that fails, elsewhere, so that no finished work is lost.

    Returns
    -------
    Results that know the file they are kept in.

    Raises
    ------
    RecordError
        If JSON cannot hold the table or the facts; the message says where they are kept.

    Warns
    -----
    UserWarning
        If a file could not be written; it says where they are kept.
    """
    try:
        save(results, name, folder)
        return kept(results, name, folder)
    except (OSError, TypeError) as error:
        path = _rescue(results, name)
        where = f"The results are kept in {path}" if path else "They are kept in this session only"
        if isinstance(error, TypeError):
            raise RecordError(f"{results.experiment}: {error}. {where}") from error
        warnings.warn(f"{error}. {where}", stacklevel=3)
        return dataclasses.replace(results, kept=str(path or ""))


def kept(results: Results, name: str, folder: Path) -> Results:
    """Return results that know the file they are kept in."""
    return dataclasses.replace(results, kept=str(folder / f"{name}.json"))


def _rescue(results: Results, name: str) -> Path | None:
    """Save to a new temporary folder, with texts for what JSON cannot hold; None if that fails."""
    table = {c: plain("table", results.table[c].tolist(), repr) for c in results.table}
    facts = plain("facts", results.facts, repr)
    try:
        folder = Path(tempfile.mkdtemp(prefix="noise-on-purpose-"))
        return save(
            dataclasses.replace(results, table=pd.DataFrame(table), facts=facts), name, folder
        )
    except OSError:
        return None


def confirm(name: str, folder: Path, code: str) -> None:
    """Note in a record that code of another hash gives the same values (``same_code``)."""
    path = folder / f"{name}.json"
    _read(path)
    body = json.loads(path.read_bytes())
    body["provenance"]["same_code"] = code
    with alone(folder):
        write(path, _dump(body).encode())


def _dump(body: dict[str, Any]) -> str:
    """As JSON: indented, but a column of the table on one line."""
    table = body["table"]
    text = json.dumps({**body, "table": {}}, indent=1, ensure_ascii=False)
    columns = [
        f"  {json.dumps(k, ensure_ascii=False)}: {json.dumps(v, ensure_ascii=False)}"
        for k, v in table.items()
    ]
    inside = "{\n" + ",\n".join(columns) + "\n }" if columns else "{}"
    return text.removesuffix("{}\n}") + inside + "\n}\n"


def load(name: str, folder: Path) -> Results:
    """Read results from a folder.

    Raises
    ------
    FileNotFoundError
        If there is none of that name.
    RecordError
        If a file is damaged, cut short, of another format, or missing; the message names it.
    """
    _check_name(name)
    path = folder / f"{name}.json"
    for _ in range(10):
        table, parts, npz, digest = _read(path)
        try:
            content = npz.read_bytes()
            break
        except FileNotFoundError:  # perhaps replaced just now: then the new JSON file names others
            time.sleep(0.02)
    else:
        raise RecordError(f"{npz} is missing, the arrays of {path.name}")
    if hashlib.sha256(content).hexdigest() != digest:
        raise RecordError(
            f"{npz} is damaged or cut short: its content ({len(content)} bytes) is not the one "
            f"that {path.name} was written with"
        )
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        try:
            return Results(table, dict(arrays), **parts)
        except (TypeError, ValueError) as error:
            raise RecordError(f"{path} is damaged: {error}") from error


def _read(path: Path) -> tuple[pd.DataFrame, dict[str, Any], Path, str]:
    """Read a JSON file: its table, its other parts, and the file and hash of its arrays."""
    text = path.read_bytes()
    try:
        body = json.loads(text)
        if body["format"] != FORMAT:
            raise RecordError(f"{path}: format {body['format']!r}; this version reads {FORMAT}")
        npz, digest = path.parent / Path(body["arrays"]["file"]).name, body["arrays"]["sha256"]
        parts = {
            key: body[key]
            for key in ("experiment", "profile", "seed", "settings", "facts", "provenance")
        }
        return pd.DataFrame(body["table"]), parts, npz, digest
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"no entry {error}" if isinstance(error, KeyError) else str(error)
        raise RecordError(f"{path} is damaged or cut short: {what}") from error


def records_folder() -> Path:
    """Folder of the committed records.

    The environment variable ``COMPANION_RESULTS``; else the nearest ``results`` folder that stands
    beside a ``companion`` folder, upwards from the working directory; else ``results`` in the
    working directory, if it is there; else the records that came with the package.
    """
    given = os.environ.get("COMPANION_RESULTS")
    if given:
        return Path(given).expanduser()
    if (top := _checkout()) is not None:
        return top / "results"
    here = Path.cwd() / "results"
    return here if here.is_dir() else _PACKAGED


def memory_folder() -> Path:
    """Folder of the results that are remembered. It may be deleted at any time.

    The environment variable ``COMPANION_MEMORY``; else ``_build/experiments`` of the checkout that
    the working directory is in; else a folder in the user's cache.
    """
    given = os.environ.get("COMPANION_MEMORY")
    if given:
        return Path(given).expanduser()
    if (top := _checkout()) is not None:
        return top / "_build" / "experiments"
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("noise-on-purpose", appauthor=False)) / "experiments"


def writable_records_folder() -> Path:
    """Where a new record goes: an installed package is not written to."""
    folder = records_folder()
    return Path.cwd() / "results" if folder == _PACKAGED else folder


def _checkout() -> Path | None:
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "results").is_dir() and (folder / "companion").is_dir():
            return folder
    return None


def _check_name(name: str) -> None:
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ValueError(
            f"name: got {name!r}; allowed are letters, digits, dots, hyphens and underscores"
        )


# --- writing ------------------------------------------------------------------------------------


def check_writable(what: str, folder: Path) -> None:
    """Make a folder, and a file in it, before the work whose result it is for.

    Raises
    ------
    OSError
        If that fails; the message says for what the folder is.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(
            error.errno, f"{what}: the folder {folder} cannot be written ({error.strerror})"
        ) from error


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Make a folder, and keep other processes from writing results there: they wait."""
    from filelock import FileLock

    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / LOCK):
        yield


def write(path: Path, content: bytes) -> None:
    """Replace a file in one step.

    Raises
    ------
    OSError
        If it cannot be written; the message names it, with its size and what is free.
    """
    half = None
    try:
        handle, half = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=".partial", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(half, 0o644)
        os.replace(half, path)
    except OSError as error:
        free = shutil.disk_usage(path.parent).free
        raise OSError(
            error.errno,
            f"{path} could not be written ({error.strerror}): it takes "
            f"{len(content) / 1e6:.2f} MB, and {free / 1e6:.2f} MB are free",
        ) from error
    finally:
        if half is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(half)
