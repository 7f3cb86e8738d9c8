"""What a run leaves in its folder: pictures, maps of uncertainty, samples, tables, the report."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from companion.data.folders import Folder, Picture, write, write_text
from companion.progress import track
from companion.restoration.budget import SHOWN_PIXELS
from companion.restoration.comparison import calibrated, classic_methods, compare, quality
from companion.restoration.diagnosis import Noise, Units
from companion.restoration.pipeline import (
    Restored,
    Restorer,
    cleaned,
    deviations_of,
    pages_of,
)
from companion.restoration.restore import posterior_samples

OURS = "this tool"
"""Name of our method in tables."""

SAMPLED = 3
"""Pictures of which posterior samples are drawn."""

CROPS = 4
"""Crops on which methods are compared without clean images."""


@dataclass
class Findings:
    """Comparison with the classic methods.

    Attributes
    ----------
    without_truth : pandas table
        A row a method: decibels of noise removed, by masked pixels and by SURE.
    with_truth : pandas table or None
        A row a picture and method: PSNR and SSIM.
    notes : list of str
    held_out : bool
        Whether methods were compared on places that the training has not seen.
    """

    without_truth: Any
    with_truth: Any = None
    notes: list[str] = field(default_factory=list)
    held_out: bool = True

    @property
    def summary(self) -> str:
        """Which method is best, in a sentence or two."""
        said = []
        table = self.without_truth.dropna(subset=["masked"])
        if OURS in table.index and len(table) > 1:
            ours = table.loc[OURS, "masked"]
            rival = table.drop(OURS)["masked"].idxmax()
            theirs = table.loc[rival, "masked"]
            said.append(
                f"By an estimate without clean images, this tool removes {_share(ours)} of the "
                f"noise's power; {rival}, the best of the other methods, removes {_share(theirs)}."
            )
            if ours < theirs:
                said.append(f"Here {rival} is the better choice; more minutes may help.")
            if not self.held_out:
                said.append("The training saw the places compared, which flatters this tool.")
        if self.with_truth is not None:
            wide = self.with_truth.pivot(index="picture", columns="method", values="psnr")
            mean = wide.dropna().mean() if len(wide.dropna()) else wide[[OURS]].mean()
            others = mean.drop([OURS, "noisy"], errors="ignore")
            rival = f", {others.idxmax()} {others.max():.2f} dB" if len(others) else ""
            said.append(f"Against the truth: PSNR {mean[OURS]:.2f} dB{rival}.")
        return " ".join(said) or "Too few pixels to compare methods without clean images."

    def save(self, path: Path) -> None:
        """Write the tables as CSV: one row a method, and with truth a row a picture and method."""
        self.without_truth.to_csv(path)
        if self.with_truth is not None:
            self.with_truth.to_csv(path.with_name("truth.csv"), index=False)


def _share(decibels: float) -> str:
    """Noise removed as a share of its power, and in decibels."""
    return f"{1 - 10 ** (-decibels / 10):.0%} ({decibels:.1f} dB)"


def true_pictures(pictures: list[Picture], truth: Folder) -> list[Picture | None]:
    """For each, the picture of its name (or but for its ending) and shape; None without one."""
    true = {q.path.stem: q for q in truth.pictures} | {q.name: q for q in truth.pictures}
    found = [true.get(q.name, true.get(q.path.stem)) for q in pictures]
    return [
        t if t is not None and t.values.shape == q.values.shape else None
        for q, t in zip(pictures, found)
    ]


def check_truth(noisy: Folder, truth: Folder) -> str:
    """Say how many pictures have a true one, before any time is spent.

    Raises
    ------
    ValueError
        If none has, or if a true one has other grey values.
    """
    pairs = list(zip(noisy.pictures, true_pictures(noisy.pictures, truth)))
    there = [(q, t) for q, t in pairs if t is not None]
    if not there:
        one = noisy.pictures[0]
        raise ValueError(
            f"truth: got {truth.path}, where no picture has the name and the shape of one in "
            f"{noisy.path}; allowed are pictures such as {one.name} of {one.shape}"
        )
    for q, t in there:
        if t.dtype != q.dtype:
            raise ValueError(
                f"truth: got {t.name} of {t.dtype}; allowed is the type of {q.name}, {q.dtype}"
            )
    return f"{len(there)} of {len(pairs)} pictures have a true one."


def restore_folder(
    out: Path, work: Path, restorer: Restorer, noisy: Folder, noise: Noise
) -> list[Restored]:
    """Restore all pictures, then find their uncertainty, then draw samples; each written at once.

    Parameters
    ----------
    out : Path
        Gets ``denoised``, ``uncertainty`` and ``samples``.
    work : Path
        What is done is kept there, so that a stopped run goes on.
    restorer, noisy, noise : as for ``pipeline.denoise``

    Returns
    -------
    list of Restored, in the order of ``noisy.pictures``
    """
    for path in (work, *(out / name for name in ("denoised", "uncertainty", "samples"))):
        path.mkdir(parents=True, exist_ok=True)
    done = []
    for i, q in enumerate(track(noisy.pictures, "restoring")):
        z = _once(work / f"{i}-clean.npy", partial(cleaned, restorer, q, noise.units(i)))
        one = Restored(q, noise.units(i).inverse(z).astype(np.float32), np.zeros_like(z))
        write(out / "denoised" / q.name, one.array, q)
        done.append(one)
    for i, one in enumerate(track(done, "uncertainty")):
        q, units = one.picture, noise.units(i)
        spread = _once(work / f"{i}-spread.npy", partial(deviations_of, restorer, q, units))
        z = np.load(work / f"{i}-clean.npy")
        one.deviation = units.spread(z, spread).astype(np.float32)
        values = np.moveaxis(one.deviation, 1, -1).astype(np.float32)
        write(out / "uncertainty" / f"{q.path.stem}{q.path.suffix}.tif", values.squeeze(), q)
    for i, one in enumerate(done[:SAMPLED]):
        q, units = one.picture, noise.units(i)
        if q.values[0, 0].size > SHOWN_PIXELS:
            continue
        drawn = _once(work / f"{i}-drawn.npy", partial(_samples, restorer, q, units))
        for number, sample in enumerate(units.inverse(drawn)):
            one.samples.append(sample)
            name = f"{q.path.stem}-{number + 1}{q.path.suffix}"
            values = np.concatenate([sample[None], one.values[1:]])
            write(out / "samples" / name, q.array(values), q)
    return done


def _samples(restorer: Restorer, picture: Picture, units: Units) -> np.ndarray:
    """Two posterior samples (2, C, H, W) of the first page, in units of the noise."""
    z = units.forward(picture.values[0])
    drawn = [
        posterior_samples(restorer.suited(page), torch.from_numpy(page), 2, seed=k)
        for k, page in enumerate(z.reshape(-1, restorer.channels, *z.shape[1:]))
    ]
    return np.stack([np.concatenate([d[number].numpy() for d in drawn]) for number in range(2)])


def _once(path: Path, make: Callable[[], np.ndarray]) -> np.ndarray:
    """Return the array in a file; where there is none it is made, and written whole or not."""
    if path.exists():
        return np.load(path)
    array = make()
    write(path, array)
    return array


def measure(
    noisy: Folder,
    noise: Noise,
    restorer: Restorer,
    restored: list[Restored],
    truth: Folder | None,
    until: float,
) -> Findings:
    """Compare with the classic methods, on held-out crops and, with truth, on whole pictures.

    Parameters
    ----------
    until : float
        Of ``time.perf_counter``: with truth, pictures are left out when it is over.
    """
    pages = pages_of(noisy, noise)
    crops = [np.ascontiguousarray(crop.of(pages)) for crop in restorer.crops[:CROPS]]
    notes = []
    if not crops:
        crops = [page[:, :96, :96] for page in pages[:CROPS]]
    functions: dict[str, Any] = {OURS: restorer}
    for method in track(classic_methods(), "calibrating"):
        functions[method.name] = calibrated(method, crops)[0]
    if "BM3D" not in functions:
        notes.append("BM3D is not installed (pip install bm3d; free for non-commercial use).")
    findings = Findings(compare(functions, crops), None, notes, bool(restorer.crops))
    if truth is not None:
        _with_truth(findings, functions, noise, restorer, restored, truth, until)
    return findings


def _with_truth(
    findings: Findings,
    functions: dict[str, Any],
    noise: Noise,
    restorer: Restorer,
    restored: list[Restored],
    truth: Folder,
    until: float,
) -> None:
    """Add PSNR and SSIM of every picture that has a true one of its name."""
    import pandas as pd

    rows, without, late = [], [], 0
    true = true_pictures([one.picture for one in restored], truth)
    for i, one in enumerate(track(restored, "comparing")):
        q, other = one.picture, true[i]
        if other is None:
            without.append(q.name)
            continue
        reach = 255.0 if q.dtype == np.uint8 else float(np.ptp(other.values))
        if q.range is not None and q.dtype != np.uint8:
            reach = q.range[1] - q.range[0]
        units = noise.units(i)
        low, high = q.range or (-np.inf, np.inf)
        answers = {"noisy": q.values, OURS: one.values.clip(low, high)}
        for name, function in functions.items():
            if name == OURS:
                continue
            if time.perf_counter() > until:
                late += 1
                continue
            z = units.forward(q.values)
            pages = z.reshape(-1, restorer.channels, *z.shape[2:])
            done = np.stack([function(page) for page in pages]).reshape(z.shape)
            answers[name] = units.inverse(done).clip(low, high)
        for name, answer in answers.items():
            psnr, ssim = quality(other.values, np.asarray(answer, dtype=np.float32), reach)
            rows.append((q.name, name, psnr, ssim))
    if without:
        names = ", ".join(without[:5]) + (" and more" if len(without) > 5 else "")
        findings.notes.append(
            f"{len(without)} of {len(restored)} pictures have no true picture of their name and "
            f"shape in {truth.path}: {names}."
        )
    if late:
        findings.notes.append(
            "Time was over before the other methods had restored every picture; means are over the "
            "pictures that all of them restored."
        )
    if rows:
        findings.with_truth = pd.DataFrame(rows, columns=["picture", "method", "psnr", "ssim"])


def write_report(
    out: Path,
    noisy: Folder,
    noise: Noise,
    restorer: Restorer,
    restored: list[Restored],
    findings: Findings,
    started: float,
) -> Path:
    """Write ``report.html``: one file, with its pictures in it."""
    from companion.restoration.report import page

    model = (out / "model").is_dir()
    text = page(noisy, noise, restorer, restored, findings, time.perf_counter() - started, model)
    path = out / "report.html"
    write_text(path, text)
    return path
