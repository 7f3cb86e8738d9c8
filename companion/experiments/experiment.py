"""What an experiment is: a frozen dataclass of settings, sizes for each profile, and ``run``."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import pkgutil
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from companion import checks
from companion.experiments.results import Results

if TYPE_CHECKING:
    from companion.experiments.session import Session

__all__ = ["PROFILES", "Experiment", "chapters", "find", "registry", "size"]

PROFILES = ("smoke", "cpu", "long", "gpu")
"""Everything at tiny sizes; what two cores run; the image experiments as well, on CPU or GPU."""

E = TypeVar("E", bound="Experiment")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Base class of all experiments.

    A subclass is a frozen dataclass. Its fields are its settings, and their defaults are the size
    of the profile ``cpu``. It defines ``run``.

    Attributes
    ----------
    sizes : dict, profile -> settings that differ there (class)
        A profile that is not named runs at the defaults. A list of dicts means several runs, on
        different data sets, say. With ``recorded`` only the profiles that are named run.
    recorded : bool (class)
        Too long to run with the book: ``long`` and ``gpu`` run it and write a record, the others
        show the record. Default False.
    needs : tuple of experiments (class)
        Those whose results ``run`` asks the session for; they are run first.
    part : bool (class)
        One of the ``parts`` of a recorded experiment, run with it only: at ``long`` and ``gpu`` its
        results are kept in ``results/parts``, so that they can be committed before all are there.
        Default False.
    seconds : float (class)
        About how long it takes at ``cpu`` on one core; the longest are started first.

    Examples
    --------
    >>> @dataclasses.dataclass(frozen=True)
    ... class Mean(Experiment):
    ...     draws: int = 1000
    ...     sizes = {"smoke": {"draws": 10}}
    >>> Mean.planned("smoke")
    [Mean(draws=10)]
    """

    sizes: ClassVar[Mapping[str, Mapping[str, Any] | Sequence[Mapping[str, Any]]]] = {}
    recorded: ClassVar[bool] = False
    needs: ClassVar[tuple[type[Experiment], ...]] = ()
    part: ClassVar[bool] = False
    seconds: ClassVar[float] = 5.0

    def __new__(cls, *args: Any, **kwargs: Any):
        """Remember which settings were given, so that a session fills in the others."""
        self = super().__new__(cls)
        names = [f.name for f in dataclasses.fields(cls)]
        object.__setattr__(self, "_given", frozenset(names[: len(args)]) | frozenset(kwargs))
        return self

    def run(self, session: Session) -> Results:
        """Measure. Everything random comes from ``session.generator``."""
        raise NotImplementedError(f"{type(self).__name__} does not define run(session)")

    def parts(self, session: Session) -> Sequence[Experiment]:
        """Return the experiments that it is made of, such as one for each network; none if one.

        The session runs them first and keeps each as soon as it is there, so that a run that was
        cut goes on where it was; two processes share them. ``run`` takes them from
        ``session.run(part)``.
        """
        return ()

    def with_its(self, part: type[E], **differ: Any) -> E:
        """Return an experiment of another class, with the settings of this one that it has too."""
        shared = {f.name for f in dataclasses.fields(part)} & set(self.settings())
        return part(**{**{name: getattr(self, name) for name in shared}, **differ})

    def possible(self) -> bool:
        """Whether this machine has what it needs beside data, such as a model; prints why not."""
        return True

    @classmethod
    def name(cls) -> str:
        """Name on the command line: the chapter's module and the class, ``tweedie.image_race``."""
        parts = cls.__module__.split(".")
        chapter = parts[2] if parts[:2] == ["companion", "experiments"] else parts[-1].strip("_")
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", cls.__name__)
        return f"{chapter}.{words.lower()}"

    @classmethod
    def planned(cls: type[E], profile: str) -> list[E]:
        """Return what is run at a profile; none, where it is only shown from records.

        Raises
        ------
        ValueError
            If the profile is unknown.
        TypeError
            If ``sizes`` names a setting that does not exist.
        """
        checks.choice("profile", profile, PROFILES)
        if (cls.recorded or cls.part) and profile not in cls.sizes:
            return []
        size = cls.sizes.get(profile, {})
        sizes = [size] if isinstance(size, Mapping) else list(size)
        return [cls(**one) for one in sizes]

    def filled(self: E, profile: str) -> E:
        """Return it with the settings that were not given taken from a profile's (first) size."""
        planned = type(self).planned(profile)
        if not planned:
            return self
        given = self._given  # type: ignore[attr-defined]
        return dataclasses.replace(planned[0], **{name: getattr(self, name) for name in given})

    def settings(self) -> dict[str, Any]:
        """Return the settings as a dict."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}


# --- the registry -------------------------------------------------------------------------------


def chapters() -> list[str]:
    """Names of the modules with experiments, in the order of the book."""
    from companion import experiments

    order = list(experiments.CHAPTERS)
    there = {m.name for m in pkgutil.iter_modules(experiments.__path__)}
    return [name for name in order if name in there]


def registry() -> dict[str, type[Experiment]]:
    """Every experiment by its name, chapter by chapter, in the order of definition; no parts."""
    known: dict[str, type[Experiment]] = {}
    for chapter in chapters():
        package = f"companion.experiments.{chapter}"
        module = importlib.import_module(package)
        for info in pkgutil.iter_modules(getattr(module, "__path__", ())):
            importlib.import_module(f"{package}.{info.name}")
        listed = [
            cls for cls in _subclasses(Experiment) if f"{cls.__module__}.".startswith(f"{package}.")
        ]
        known |= {
            cls.name(): cls for cls in listed if cls.run is not Experiment.run and not cls.part
        }
    return known


def _subclasses(cls: type[Experiment]) -> list[type[Experiment]]:
    direct: list[type[Experiment]] = cls.__subclasses__()
    return [one for sub in direct for one in (sub, *_subclasses(sub))]


def find(name: str) -> list[type[Experiment]]:
    """Experiments of a name: one, all of a chapter (``tweedie``), or ``all``.

    Raises
    ------
    ValueError
        If there is none; the message names the nearest.
    """
    known = registry()
    if name == "all":
        return list(known.values())
    if name in chapters():
        return [cls for key, cls in known.items() if key.startswith(f"{name}.")]
    if name in known:
        return [known[name]]
    near = difflib.get_close_matches(name, [*known, *chapters(), "all"], n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else "'companion list' shows them all"
    raise ValueError(f"there is no experiment {name!r}; {hint}")


def size(experiment: type[Experiment], profile: str) -> str:
    """Return in a few words what a profile runs."""
    if not experiment.planned(profile):
        return "from records"
    differ = experiment.sizes.get(profile, {})
    if not isinstance(differ, Mapping):
        return f"{len(list(differ))} runs"
    return ", ".join(f"{k} {v}" for k, v in differ.items()) or "as documented"
