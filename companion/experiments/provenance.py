"""Where a result comes from: device, versions, commit, date, time, memory."""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

__all__ = ["expected", "provenance"]

_PACKAGES = ("numpy", "scipy", "torchvision", "diffusers", "accelerate", "POT", "torchmetrics")


def provenance(*, seconds: float | None = None, code: str | None = None) -> dict[str, Any]:
    """Gather where a result comes from.

    Parameters
    ----------
    seconds : float, optional
        How long it took.
    code : str, optional
        Hash of the code that made it.

    Returns
    -------
    dict with ``device``, ``versions``, ``commit`` (None outside of a git checkout), ``changed``
    (whether the package differs from the commit), ``date`` (UTC), ``seconds``, ``peak_memory`` in
    bytes (of the GPU if there is one) and ``code``.
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
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seconds": seconds,
        "peak_memory": _peak_memory(),
        "code": code,
    }


def expected(record: Mapping[str, Any]) -> str:
    """Say how long a run will take on this device, as far as that was measured.

    Parameters
    ----------
    record : mapping
        The ``provenance`` of an earlier run; empty if there was none.

    Returns
    -------
    str, a sentence. Times of other devices are told as such, and nothing is reckoned from them.
    """
    here, left = _device(), "a bar shows the time left"
    if record.get("seconds") is None:
        return f"no run was recorded, so how long it takes on {here} is not known; {left}."
    seconds, there = record["seconds"], record.get("device")
    took = f"{seconds / 60:,.0f} minutes" if seconds >= 100 else f"{seconds:.0f} s"
    if there == here:
        return f"it took {took} on this device ({here}) when it was recorded."
    return f"it took {took} on {there}; how long it takes on {here} is not known; {left}."


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
        return _installed_commit(), False  # not part of the checkout that it lies in
    return _git("rev-parse", "HEAD"), bool(_git("status", "--porcelain", "--", ".."))


def _installed_commit() -> str | None:
    """Commit that pip installed the package from, as in Colab; None if it was no repository."""
    try:
        text = metadata.distribution("noise-on-purpose").read_text("direct_url.json")
        return json.loads(text or "{}").get("vcs_info", {}).get("commit_id")
    except (metadata.PackageNotFoundError, ValueError, AttributeError):
        return None


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
