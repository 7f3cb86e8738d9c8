"""A session: profile, seed and random numbers of a run, and the results that it remembers."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from companion import checks, data, progress
from companion.experiments import records
from companion.experiments.experiment import PROFILES, Experiment
from companion.experiments.provenance import expected, provenance
from companion.experiments.results import Results
from companion.experiments.shown import Records, record_name, title
from companion.experiments.source import code_hash

if TYPE_CHECKING:
    from companion.experiments.claims import Claims

__all__ = ["Records", "Session"]


class Session:
    """What a run of experiments has in common.

    Parameters
    ----------
    profile : {"smoke", "cpu", "long", "gpu"}
        How much is run (default "cpu").
    seed : int
        Master seed, 0 or more (default 0).
    memory : path, optional
        Folder of the remembered results (default ``records.memory_folder()``).

    Examples
    --------
    >>> session = Session("smoke", seed=1)
    >>> session.generator(3).initial_seed()
    1003
    """

    def __init__(self, profile: str = "cpu", seed: int = 0, *, memory: str | Path | None = None):
        self.profile = checks.choice("profile", profile, PROFILES)
        self.seed = checks.whole("seed", seed, 0)
        self._memory = None if memory is None else Path(memory).expanduser()
        self._shared: dict[str, Results] = {}  # what was run by several processes

    def __repr__(self) -> str:
        return f"Session(profile={self.profile!r}, seed={self.seed})"

    @property
    def smoke(self) -> bool:
        """Whether sizes are tiny, so that the numbers mean nothing."""
        return self.profile == "smoke"

    def generator(self, number: int) -> torch.Generator:
        """Return random numbers of their own for each use, all set by the master seed."""
        return torch.Generator().manual_seed(1000 * self.seed + number)

    # --- running

    def run(self, experiment: type[Experiment] | Experiment, *, again: bool = False) -> Results:
        """Run an experiment, or take its results from memory.

        Results are remembered under the settings, the profile, the seed, and the code that made
        them, so that a change of prose or of a figure runs nothing again. Under
        ``accelerate launch`` on several processes each of them runs it, so that they meet in its
        training, and the first keeps the results.

        Its parts are run first, and each is kept when it is there. Where several processes run the
        same experiment, each takes the parts that no other has at hand.

        Parameters
        ----------
        experiment : Experiment, or its class
            Settings that were not given are those of the profile.
        again : bool
            Run it and its parts in any case (default False).

        Raises
        ------
        ValueError
            If it is recorded only, and this profile has no size for it.
        OSError
            Before it is run, if the folder of the memory cannot be written.
        RecordError
            After it was run, if JSON cannot hold its table or its facts; the message says where
            the results are kept all the same.

        Warns
        -----
        UserWarning
            If its results could not be written to the memory; it says where they are kept.
        """
        return self._run(self.asked(experiment), again)  # type: ignore[return-value]

    def _run(self, experiment: Experiment, again: bool, timeout: float = -1) -> Results | None:
        """Run it; None where another process has it at hand for more than ``timeout`` seconds."""
        code = _code(experiment)
        if code is None:
            return self._measure(experiment, code)
        name = f"{experiment.name()}-{self._key(experiment, code)}"
        folder = self._folder(experiment)
        if _processes() > 1:
            return self._run_by_all(experiment, code, name, folder)
        if not again and (known := _known(name, folder)) is not None:
            return known
        from filelock import FileLock, Timeout

        records.check_writable("COMPANION_MEMORY", folder)
        spent = self._run_parts(experiment, again)
        try:
            with FileLock(folder / f"{name}.lock", timeout):  # two that want the same run it once
                if not again and (known := _known(name, folder)) is not None:
                    return known
                return records.keep(self._measure(experiment, code, spent), name, folder)
        except Timeout:
            return None

    def _run_parts(self, experiment: Experiment, again: bool) -> float:
        """Run all parts, those first that no other process has at hand; return their seconds."""
        parts = experiment.parts(self)
        found = [self._run(part, again, 0) for part in progress.track(parts, "parts")]
        every = [self.run(part) if one is None else one for part, one in zip(parts, found)]
        return sum(one.provenance["seconds"] for one in every)

    def _folder(self, experiment: Experiment) -> Path:
        """Where its results are remembered."""
        if experiment.part and self.profile in ("long", "gpu"):
            return records.writable_records_folder() / records.PARTS
        return self._memory or records.memory_folder()

    def _run_by_all(self, experiment: Experiment, code: str, name: str, folder: Path) -> Results:
        if name not in self._shared:
            if _first_process():
                records.check_writable("COMPANION_MEMORY", folder)
            results = self._measure(experiment, code)
            keep = records.keep if _first_process() else records.kept
            self._shared[name] = keep(results, name, folder)
        return self._shared[name]

    def remembered(self, experiment: type[Experiment] | Experiment) -> Results | None:
        """Return what ``run`` would take from memory; None if it would have to run."""
        experiment = self.asked(experiment)
        code = _code(experiment)
        if code is None:
            return None
        name = f"{experiment.name()}-{self._key(experiment, code)}"
        return _known(name, self._folder(experiment))

    def asked(self, experiment: type[Experiment] | Experiment) -> Experiment:
        """Return an experiment with all its settings, those of the profile where none was given."""
        if isinstance(experiment, type) and issubclass(experiment, Experiment):
            planned = experiment.planned(self.profile)
            if not planned:
                sizes = ", ".join(map(repr, experiment.sizes))
                raise ValueError(
                    f"{experiment.name()}: profile {self.profile!r} has no size for it, only "
                    f"{sizes}; session.records() shows what was recorded"
                )
            return planned[0]
        if isinstance(experiment, Experiment):
            return experiment.filled(self.profile)
        raise TypeError(f"experiment: got {experiment!r}; allowed is an Experiment or its class")

    def _measure(self, experiment: Experiment, code: str | None, spent: float = 0.0) -> Results:
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        began = time.perf_counter()
        results = experiment.run(self)
        if not isinstance(results, Results):
            raise TypeError(
                f"{experiment.name()}: run() returned {type(results).__name__}; allowed is Results"
            )
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return dataclasses.replace(
            results,
            experiment=experiment.name(),
            settings=records.plain("settings", experiment.settings()),
            profile=self.profile,
            seed=self.seed,
            provenance=provenance(seconds=spent + time.perf_counter() - began, code=code),
        )

    def _key(self, experiment: Experiment, code: str) -> str:
        parts = {
            "settings": records.plain("settings", experiment.settings()),
            "profile": self.profile,
            "seed": self.seed,
            "code": code,
            "torch": torch.__version__,
            "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        }
        if _processes() > 1:
            parts["processes"] = _processes()
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    # --- verdicts

    def published(self, claims: Claims) -> Claims:
        """Return the published verdicts of claims, where this run is the book's own.

        Published verdicts are of several master seeds together, so that the words of a page do not
        hang on one. A run at another profile, or with another master seed than 0, keeps its own.
        """
        from companion.experiments.claims import Claims
        from companion.experiments.published import with_published

        if (self.profile, self.seed) != ("cpu", 0):
            return claims
        return Claims(with_published(claims))

    # --- records

    def records(self, experiment: type[Experiment], *, again: bool = False) -> Records:
        """Return the records of an experiment that is too long to run with the book.

        At ``long`` and ``gpu``, if it has a size there, it is run, and its records are written; at
        ``smoke`` it is run at its tiny size. Everything else that is recorded is loaded, and says
        so if its code or its settings have changed since.

        Parameters
        ----------
        experiment : class of an Experiment that is ``recorded``
        again : bool
            At its profile run it even if there is a record of the same run (default False).
        """
        shown = Records()
        full, long = experiment.planned("gpu"), experiment.planned("long")
        if not experiment.recorded:
            raise ValueError(f"{experiment.name()} is not recorded: use session.run()")
        for planned in [*full, *(e for e in long if e not in full)]:
            sizes = [s for s, among in (("gpu", full), ("long", long)) if planned in among]
            ending = "" if "gpu" in sizes else "-long"
            shown |= self._record(planned, ending, live=self.profile in sizes, again=again)
        if self.smoke:
            for planned in experiment.planned("smoke"):
                shown[f"{title(planned)}, smoke run"] = self.run(planned)
        return shown

    def latest(self, experiment: type[Experiment]) -> Results:
        """Return the record of this profile even if its code has changed; without one, run it.

        For an experiment that goes on from what a recorded one has chosen.

        Raises
        ------
        ValueError
            If this profile has no size for it.
        """
        planned = self.asked(experiment)
        if self.profile not in ("long", "gpu") or not experiment.recorded:
            return self.run(planned)
        ending = "" if planned in experiment.planned("gpu") else "-long"
        name, folder = record_name(planned, ending), records.records_folder()
        try:
            return records.kept(records.load(name, folder), name, folder)
        except (FileNotFoundError, NotADirectoryError):
            return self._recorded(planned, ending, again=False)

    def _record(self, planned: Experiment, ending: str, live: bool, again: bool) -> Records:
        """One record, of each version of its data that there is; made anew where ``live``."""
        versions = [planned]
        name = getattr(planned, "data", None)
        if name and f"{name}-jpeg" in data.IMAGES:
            versions.append(dataclasses.replace(planned, data=f"{name}-jpeg"))  # type: ignore[call-arg]
        if live:
            here = [v for v in versions if _available(getattr(v, "data", None))][:1]
            here = [v for v in here if v.possible()]
            if here:
                return Records({title(here[0]): self._recorded(here[0], ending, again)})
        shown = Records()
        for version in versions:
            name = record_name(version, ending)
            try:
                results = records.load(name, records.records_folder())
            except (FileNotFoundError, NotADirectoryError):
                continue
            reasons = _differences(results, version)
            results = records.kept(results, name, records.records_folder())
            shown[title(version)] = dataclasses.replace(results, stale=reasons)
        return shown or Records({title(planned): None})

    def _recorded(self, experiment: Experiment, ending: str, again: bool) -> Results:
        """Run and write the record, unless the one that is there is of the same run."""
        name, folder = record_name(experiment, ending), records.records_folder()
        there = None
        try:
            there = records.load(name, folder)
            if not again and not _differences(there, experiment) and there.seed == self.seed:
                return records.kept(there, name, folder)
        except (OSError, records.RecordError):
            pass
        folder = records.writable_records_folder()
        if _first_process():
            records.check_writable("COMPANION_RESULTS", folder)
        if progress.watched() and (again or self.remembered(experiment) is None):
            print(f"{title(experiment)}: {expected(there.provenance if there else {})}", flush=True)
        results = self.run(experiment, again=again)
        if _first_process():
            try:
                records.save(results, name, folder, records.LIMIT)
            except (OSError, records.RecordError) as error:
                raise records.RecordError(f"{error}. The run is kept in {results.kept}") from error
        return records.kept(results, name, folder)


def _differences(results: Results, experiment: Experiment) -> tuple[str, ...]:
    """Why a record may not be what a run would give now."""
    reasons = []
    made = results.provenance
    if _code(experiment) not in (made.get("code"), made.get("same_code")):
        reasons.append("the code has changed since")
    asked = records.plain("settings", experiment.settings())
    keys = [*asked, *(key for key in results.settings if key not in asked)]
    missing = object()
    differ = [k for k in keys if asked.get(k, missing) != results.settings.get(k, missing)]
    if differ:
        reasons.append(f"it was made with other settings ({', '.join(differ)})")
    return tuple(reasons)


def _known(name: str, folder: Path) -> Results | None:
    """Remembered results; None if there are none, or if they are damaged and must be made again."""
    try:
        return records.kept(records.load(name, folder), name, folder)
    except (OSError, records.RecordError):
        return None


def _code(experiment: Experiment) -> str | None:
    """Hash of an experiment's code; None for one that is defined in a notebook."""
    try:
        return code_hash(type(experiment).__module__)
    except ValueError:
        return None


def _processes() -> int:
    return int(os.environ.get("WORLD_SIZE", 1))


def _first_process() -> bool:
    return int(os.environ.get("RANK", 0)) == 0


def _available(name: str | None) -> bool:
    """Whether a data set is on this machine or can be downloaded; says why not."""
    if name is None:
        return True
    try:
        data.images(name, "test")
    except data.DataError as reason:
        print(reason)
        return False
    return True
