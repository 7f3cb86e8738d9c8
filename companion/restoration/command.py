"""``companion denoise FOLDER --out OUT``: from a folder of noisy images to clean ones."""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from companion import checks
from companion.data.folders import write_text

WORK = ".work"
"""Folder in OUT with the settings and the training, so that a stopped run can go on."""

WRITTEN = (
    *("denoised", "uncertainty", "samples", "restorer", "model"),
    *("noise.csv", "comparison.csv", "truth.csv", "report.html", WORK),
)
"""What a run writes into OUT, and all that ``--overwrite`` removes."""

GENERATOR = 1 / 3
"""Share of the time for training that a generator gets, with ``--model``."""

PACKAGES = {
    "skimage": "scikit-image",
    "pywt": "PyWavelets",
    "imageio": "imageio",
    "tifffile": "tifffile",
}


@dataclass(frozen=True)
class DenoiseSettings:
    """Options of ``companion denoise``; see its ``--help``."""

    folder: str
    out: str
    sigma: str = "auto"
    minutes: float = 10.0
    steps: int | None = None
    truth: str | None = None
    clean: str | None = None
    model: bool = False
    overwrite: bool = False
    seed: int = 0


class Stopped(RuntimeError):
    """Why a run ended early; what to do about it."""


def denoise_job(options: argparse.Namespace, rest: list[str]) -> Callable[[], int]:
    """Check the options, and return what is to be done."""
    if rest:
        raise ValueError(f"unknown arguments: {' '.join(rest)}")
    names = DenoiseSettings.__dataclass_fields__
    settings = DenoiseSettings(**{name: getattr(options, name) for name in names})
    checks.number("minutes", settings.minutes, above=0)
    checks.seed("seed", settings.seed)
    if settings.steps is not None:
        checks.whole("steps", settings.steps)

    def job() -> int:
        from companion.data import DataError
        from companion.training_run import TrainingDiverged

        again = "the same command goes on from there"
        if settings.overwrite:
            again = "the same command without --overwrite goes on from there"
        full = f"companion: the memory is full; what was done is kept, and {again}"
        try:
            denoise_folder(settings)
        except KeyboardInterrupt:
            print(f"\ncompanion: stopped; {settings.out}/{WORK} is kept, {again}", file=sys.stderr)
            return 130
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            print(
                f"companion: {error.strerror or error}{where}; what was done is kept, and {again}",
                file=sys.stderr,
            )
            return 1
        except MemoryError:
            print(full, file=sys.stderr)
            return 1
        except (DataError, Stopped, TrainingDiverged, TypeError, ValueError) as error:
            print(f"companion: {error}", file=sys.stderr)
            return 2
        except RuntimeError as error:  # what PyTorch raises when there is no memory
            if "allocate" not in str(error) and "out of memory" not in str(error):
                raise
            print(full, file=sys.stderr)
            return 1
        return 0

    return job


def read_levels(text: str) -> str | float | dict[str, float]:
    """Read the option ``--sigma``: "auto", a number, or a CSV table with file and sigma.

    Raises
    ------
    ValueError
        If it is none of these. Says which line of a table is wrong.
    """
    if text == "auto":
        return text
    try:
        return checks.number("sigma", float(text), above=0)
    except ValueError:
        path = Path(text).expanduser()
        if not path.is_file():
            raise ValueError(
                f"sigma: got {text!r}; allowed are auto, a number above 0, and the path of a CSV "
                "table with the columns file,sigma"
            ) from None
    levels = {}
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"sigma: {path} cannot be read as text ({error}); allowed is a CSV table with the "
            "columns file,sigma"
        ) from None
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        name, _, value = line.rpartition(",")
        try:
            levels[name.strip().strip('"')] = checks.number("sigma", float(value), above=0)
        except ValueError:
            if number == 1:  # the names of the columns
                continue
            raise ValueError(
                f"sigma: line {number} of {path} is {line!r}; allowed is a file and a number above "
                "0, such as scan1.png,12.5"
            ) from None
    if not levels:
        raise ValueError(f"sigma: {path} has no line such as scan1.png,12.5")
    return levels


def prepare(settings: DenoiseSettings, identity: dict[str, Any]) -> Path:
    """Make OUT ready: new, or one that goes on; never one with other results.

    Returns
    -------
    Path of the folder of the work in progress

    Raises
    ------
    Stopped
        If OUT holds something else, or cannot be written.
    """
    out = Path(settings.out).expanduser()
    real, inside = (Path(os.path.realpath(p)) for p in (out, Path(settings.folder).expanduser()))
    if real == inside or real in inside.parents:
        raise Stopped(f"out: {out} is the folder of the inputs or holds it; name another folder")
    if out.exists() and not out.is_dir():
        raise Stopped(f"out: {out} is a file; allowed is a folder, which is made")
    work = out / WORK
    kept = work / "settings.json"
    if settings.overwrite and out.is_dir():
        for name in WRITTEN:
            path = out / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    elif out.is_dir() and any(out.iterdir()):
        if not kept.exists():
            raise Stopped(
                f"out: {out} is not empty; name another folder, or allow with --overwrite that "
                f"{', '.join(WRITTEN[:-1])} in it are replaced"
            )
        try:
            before = dict(json.loads(kept.read_text(encoding="utf-8")))
        except ValueError:
            raise Stopped(f"out: {kept} is damaged; --overwrite starts anew") from None
        changed = [k for k in identity if before.get(k) != identity[k]]
        if changed:
            raise Stopped(
                f"out: {out} holds a run that was stopped, of other {' and '.join(changed)}; give "
                "the same options to go on, or --overwrite to start anew"
            )
        print(f"Going on with the run that was stopped in {out}.")
    try:
        work.mkdir(parents=True, exist_ok=True)
        write_text(kept, json.dumps(identity))
    except OSError as error:
        raise Stopped(f"out: {out} cannot be written ({error.strerror})") from error
    return work


def _identity(settings: DenoiseSettings, noisy: Any) -> dict[str, Any]:
    """What must be the same for a run to go on: options and the content of the files."""
    content = hashlib.sha256()
    for picture in noisy.pictures:
        content.update(picture.name.encode())
        content.update(picture.values.tobytes())
    names = ("sigma", "minutes", "steps", "clean", "model", "seed")
    return {k: asdict(settings)[k] for k in names} | {"pictures": content.hexdigest()}


def _make_model(
    out: Path, noisy: Any, noise: Any, settings: DenoiseSettings, work: Path, seconds: float
) -> None:
    """Train the generator, as many steps as fit the seconds."""
    from companion.restoration.generator import planned_steps, save_generator, train_generator

    steps = settings.steps or planned_steps(noisy, noise, seconds, work)
    made = train_generator(noisy, noise, steps=steps, seed=settings.seed, checkpoint=work)
    save_generator(*made, out / "model")


def _training_seconds(
    settings: DenoiseSettings, noisy: Any, truth: Any, work: Path, started: float
) -> float:
    """What is left for training when all else has its time; says how the time is divided."""
    from companion.restoration import budget, outputs

    kept = work / "seconds.json"
    if settings.steps is not None:
        return 60 * settings.minutes  # not asked for: the steps are given
    if kept.exists():
        return float(kept.read_text(encoding="utf-8"))
    costs = budget.trial(
        noisy, 60 * settings.minutes, sampled=outputs.SAMPLED, crops=outputs.CROPS,
        truth=truth is not None,
    )  # fmt: skip
    spent = time.perf_counter() - started
    seconds, said = budget.divide(settings.minutes, spent, costs, len(noisy.pages()))
    print(said, flush=True)
    write_text(kept, json.dumps(seconds))
    return seconds


def denoise_folder(settings: DenoiseSettings) -> Path:
    """Do all of it: read, diagnose, train, restore, compare, report.

    Parameters
    ----------
    settings : DenoiseSettings

    Returns
    -------
    Path of the report
    """
    missing = [p for module, p in PACKAGES.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise Stopped(
            f"companion denoise needs more packages: pip install {' '.join(missing)} imagecodecs"
        )
    from companion.data.folders import folder
    from companion.restoration import outputs, pipeline
    from companion.restoration.diagnosis import estimate
    from companion.restoration.restore import save

    started = time.perf_counter()
    levels = read_levels(settings.sigma)
    noisy = folder(settings.folder)
    merge = noisy.channels == 1
    truth = None if settings.truth is None else folder(settings.truth, merge=merge)
    clean = None if settings.clean is None else folder(settings.clean, merge=merge)
    if clean is not None:
        pipeline.check_clean(clean, noisy)
    identity = _identity(settings, noisy)
    noise = estimate(noisy, levels)
    for name, why in noisy.skipped.items():
        print(f"Skipped {name}: {why}.", file=sys.stderr)
    if noisy.other:
        listed = ", ".join(f"{n} that end in {e or 'nothing'}" for e, n in noisy.other.items())
        print(f"Not read: files of other kinds, {listed}.", file=sys.stderr)
    if truth is not None:
        print(outputs.check_truth(noisy, truth), file=sys.stderr)
    work = prepare(settings, identity)
    print(f"{len(noisy)} pictures, {len(noisy.pages())} pages.\n{noise}", flush=True)
    seconds = _training_seconds(settings, noisy, truth, work, started)
    ours = seconds * (1 - GENERATOR if settings.model else 1)
    restorer = pipeline.fit(
        noisy, noise, minutes=ours / 60, steps=settings.steps, clean=clean,
        seed=settings.seed, checkpoint=work / "training",
    )  # fmt: skip
    out = Path(settings.out).expanduser()
    save(restorer.denoiser, out / "restorer")
    if settings.model:
        _make_model(out, noisy, noise, settings, work / "generator", seconds * GENERATOR)
    restored = outputs.restore_folder(out, work / "restored", restorer, noisy, noise)
    until = started + 60 * settings.minutes
    findings = outputs.measure(noisy, noise, restorer, restored, truth, until)
    noise.table.to_csv(out / "noise.csv", index=False)
    findings.save(out / "comparison.csv")
    report = outputs.write_report(out, noisy, noise, restorer, restored, findings, started)
    shutil.rmtree(work)
    print(f"{findings.summary}\nThe report is {report}.")
    return report
