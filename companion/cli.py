"""The command line: ``companion list``, ``run``, ``verdicts``; also ``python -m companion``."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Sequence

from companion.experiments.experiment import PROFILES, Experiment, find, registry, size

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of the process.

    Returns
    -------
    int, the exit status: 0, 1 if an experiment failed, 2 for a wrong command.
    """
    parser = _parser()
    given = list(sys.argv[1:] if arguments is None else arguments)
    options, rest = parser.parse_known_args(given)
    if rest and options.command != "run":
        parser.error(f"unknown arguments: {' '.join(rest)}")
    try:
        if options.command == "list":
            return _list()
        if options.command == "verdicts":
            return _verdicts(options)
        return _run(options, rest)
    except ValueError as error:
        print(f"companion: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="companion", description="The experiments of Noise on Purpose, without the book."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("list", help="list every experiment, with the size of each profile")
    run = commands.add_parser(
        "run",
        help="run one experiment, all of a chapter, or 'all'",
        description="Run one experiment, all of a chapter, or 'all'. One experiment takes its "
        "settings as options too: 'companion run NAME --settings' lists them.",
    )
    run.add_argument("name", help="such as gradient_estimation.race, gradient_estimation, or all")
    verdicts = commands.add_parser("verdicts", help="judge the claims of a chapter, or of all")
    verdicts.add_argument("name", nargs="?", default="all", help="a chapter's module (default all)")
    for command in (run, verdicts):
        command.add_argument("--profile", choices=PROFILES, default="cpu", help="default: cpu")
        command.add_argument("--seed", type=int, default=0, help="master seed (default 0)")
    run.add_argument("--jobs", type=int, default=None, help="processes (default: one a core)")
    run.add_argument("--again", action="store_true", help="run even what is remembered")
    run.add_argument("--settings", action="store_true", help="list the settings and stop")
    return parser


def _list() -> int:
    for name, experiment in registry().items():
        print(f"{name}\n    {_first_line(experiment)}")
        print("    " + "; ".join(f"{p}: {size(experiment, p)}" for p in PROFILES))
    return 0


def _first_line(experiment: type[Experiment]) -> str:
    return (experiment.__doc__ or "").strip().partition("\n")[0]


def _run(options: argparse.Namespace, rest: list[str]) -> int:
    experiments = find(options.name)
    if len(experiments) > 1 or options.name == "all":
        if rest or options.settings:
            raise ValueError(f"settings belong to one experiment, and {options.name} is several")
        from companion.experiments.parallel import run_all

        return run_all(experiments, options.profile, options.seed, options.jobs, options.again)
    return _run_one(experiments[0], options, rest)


def _run_one(cls: type[Experiment], options: argparse.Namespace, rest: list[str]) -> int:
    import tyro

    from companion.experiments.session import Session

    session = Session(options.profile, options.seed)
    planned = cls.planned(options.profile)
    if not planned:
        allowed = ", ".join(p for p in PROFILES if cls.planned(p))
        raise ValueError(f"{cls.name()} has no size for {options.profile}; profiles: {allowed}")
    if not rest and not options.settings and cls.recorded and options.profile in ("long", "gpu"):
        records = session.records(cls)
        print(records)
        return 0
    if rest or options.settings:
        asked = tyro.cli(
            cls,
            prog=f"companion run {cls.name()}",
            description=cls.__doc__,
            args=["--help"] if options.settings else rest,
            default=planned[0],
        )
        planned = [dataclasses.replace(asked)]  # all settings are given now
    for experiment in planned:
        results = session.run(experiment, again=options.again)
        if int(os.environ.get("RANK", 0)) == 0:
            print(results)
            print(f"kept in {results.provenance.get('kept', 'no file: run by several processes')}")
    return 0


def _verdicts(options: argparse.Namespace) -> int:
    import importlib

    from companion.experiments.experiment import chapters
    from companion.experiments.session import Session

    known = chapters()
    names = known if options.name == "all" else [options.name]
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"there is no chapter {unknown[0]!r}; allowed are {', '.join(known)}, all")
    session = Session(options.profile, options.seed)
    for name in names:
        module = importlib.import_module(f"companion.experiments.{name}")
        if hasattr(module, "verdicts"):
            print(module.verdicts(session))
    return 0
