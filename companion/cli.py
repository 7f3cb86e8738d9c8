"""The command line: ``companion list``, ``run``, ``denoise`` ...; also ``python -m companion``.

``accelerate launch -m companion run NAME`` runs an experiment on several devices or machines.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial

from companion import checks
from companion.experiments.experiment import PROFILES, Experiment, chapters, find, registry, size
from companion.experiments.session import Session

__all__ = ["main"]

Job = Callable[[], int]


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
    options, rest = _parser().parse_known_args(sys.argv[1:] if arguments is None else arguments)
    try:
        job = COMMANDS[options.command](options, rest)
    except (TypeError, ValueError) as error:
        print(f"companion: {error}", file=sys.stderr)
        return 2
    return job()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="companion",
        description="The experiments and tools of Noise on Purpose, without the book.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("list", help="list every experiment, with the size of each profile")
    run = commands.add_parser(
        "run",
        allow_abbrev=False,  # an experiment's own --seeds is not --seed
        help="run one experiment, all of a chapter, or 'all'",
        description="Run one experiment, all of a chapter, or 'all'. One experiment takes its "
        "settings as options too: 'companion run NAME --settings' lists them.",
    )
    run.add_argument("name", help="such as gradient_estimation.race, gradient_estimation, or all")
    verdicts = commands.add_parser("verdicts", help="judge the claims of a chapter, or of all")
    verdicts.add_argument(
        "name", nargs="?", default="all", help="a chapter's module (default: all)"
    )
    for command in (run, verdicts):
        command.add_argument("--profile", choices=PROFILES, default="cpu", help="default: cpu")
        command.add_argument("--seed", type=int, default=0, help="master seed (default 0)")
        command.add_argument(
            "--jobs", type=int, default=None, help="processes (default: one a core)"
        )
    verdicts.add_argument(
        "--publish",
        type=int,
        nargs="+",
        metavar="SEED",
        help="run these master seeds, judge them together, and keep the verdicts as published",
    )
    _add_denoise(commands)
    _add_sample(commands)
    run.add_argument("--again", action="store_true", help="run even what is remembered")
    run.add_argument("--settings", action="store_true", help="list the settings and stop")
    return parser


def _list(options: argparse.Namespace, rest: list[str]) -> Job:
    _no_more(rest)
    known = registry()

    def job() -> int:
        for name, experiment in known.items():
            print(f"{name}\n    {_first_line(experiment)}")
            print("    " + "; ".join(f"{p}: {size(experiment, p)}" for p in PROFILES))
        return 0

    return job


def _first_line(experiment: type[Experiment]) -> str:
    return (experiment.__doc__ or "").strip().partition("\n")[0]


def _no_more(rest: list[str]) -> None:
    if rest:
        raise ValueError(f"unknown arguments: {' '.join(rest)}")


def _run(options: argparse.Namespace, rest: list[str]) -> Job:
    session = Session(options.profile, options.seed)
    if options.jobs is not None:
        checks.whole("jobs", options.jobs)
    experiments = find(options.name)
    if len(experiments) == 1:
        return _run_one(experiments[0], session, options, rest)
    if rest or options.settings:
        raise ValueError(f"settings belong to one experiment, and {options.name} is several")
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:  # by accelerate: all processes run each of them
        there = [cls for cls in experiments if cls.planned(options.profile)]
        jobs = [_run_one(cls, session, options, rest) for cls in there]
        return lambda: max(job() for job in jobs)
    from companion.experiments.parallel import run_all

    return partial(run_all, experiments, options.profile, options.seed, options.jobs, options.again)


def _run_one(
    cls: type[Experiment], session: Session, options: argparse.Namespace, rest: list[str]
) -> Job:
    planned = cls.planned(options.profile)
    if not planned:
        allowed = ", ".join(p for p in PROFILES if cls.planned(p))
        raise ValueError(f"{cls.name()} has no size for {options.profile}; profiles: {allowed}")
    recorded = cls.recorded and options.profile in ("long", "gpu")
    if rest or options.settings:
        import tyro

        recorded = False  # a record is of the documented settings
        asked = tyro.cli(
            cls,
            prog=f"companion run {cls.name()}",
            description=inspect.cleandoc(cls.__doc__ or ""),
            args=["--help"] if options.settings else rest,
            default=planned[0],
        )
        planned = [dataclasses.replace(asked)]  # all settings are given now

    def job() -> int:
        if recorded:
            results = list(session.records(cls, again=options.again).there().values())
        else:
            results = [session.run(experiment, again=options.again) for experiment in planned]
        if int(os.environ.get("RANK", 0)) == 0:
            for one in results:
                print(f"{one}\nkept in {one.kept}")
        return 0

    return job


def _verdicts(options: argparse.Namespace, rest: list[str]) -> Job:
    _no_more(rest)
    known = chapters()
    checks.choice("chapter", options.name, [*known, "all"])
    names = known if options.name == "all" else [options.name]
    if options.publish:
        return _publish(names, options)
    session = Session(options.profile, options.seed)

    def job() -> int:
        for name in names:
            module = importlib.import_module(f"companion.experiments.{name}")
            if hasattr(module, "verdicts"):
                print(module.verdicts(session))
        return 0

    return job


def _publish(names: list[str], options: argparse.Namespace) -> Job:
    from companion.experiments.parallel import run_all
    from companion.experiments.published import PooledSession, judge, judge_otherwise, write

    PooledSession(options.profile, options.publish)  # says what is wrong with the seeds

    def job() -> int:
        for seed in options.publish:
            listed = [experiment for name in names for experiment in find(name)]
            if code := run_all(listed, options.profile, seed, options.jobs):
                return code
        claims = judge(names, options.profile, options.publish)
        print(claims)
        otherwise = judge_otherwise(names, options.profile, options.publish)
        for path in write(claims, options.profile, options.publish, otherwise):
            print(f"kept in {path}")
        return 0

    return job


def _add_denoise(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "denoise",
        help="restore a folder of noisy images, without clean ones",
        description="Restore a folder of noisy images. It learns from them alone. FOLDER is never "
        "changed; everything goes to OUT, and report.html there shows it.",
    )
    parser.add_argument("folder", help="with PNG, TIFF, JPEG or .npy files")
    parser.add_argument("--out", required=True, help="folder for the results")
    parser.add_argument(
        "--sigma",
        default="auto",
        help="noise level in grey values (25 of 255, say), or a CSV table of file,sigma "
        "(default auto: estimated)",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=10.0,
        help="time in all to aim at; it says so if that is too little (default 10)",
    )
    parser.add_argument("--steps", type=int, help="training steps, instead of what fits the time")
    parser.add_argument("--truth", help="folder of clean images of the same names: PSNR and SSIM")
    parser.add_argument("--clean", help="folder of a few clean images of the same kind to train on")
    parser.add_argument(
        "--model",
        action="store_true",
        help="train a generator too, in a third of the time: OUT/model, a diffusers pipeline",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace earlier results in OUT, also those of a run that was stopped",
    )
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (default 0)")


def _add_sample(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "sample",
        help="draw images from a diffusers pipeline folder",
        description="Draw images from a diffusers pipeline folder with a UNet2DModel, such as the "
        "one that 'companion denoise --model' writes to OUT/model.",
    )
    parser.add_argument("model", help="the pipeline folder")
    parser.add_argument("-n", type=int, default=16, help="images (default 16)")
    parser.add_argument(
        "--sampler", default="gradient_estimation", help="default: gradient_estimation"
    )
    parser.add_argument("--steps", type=int, default=10, help="steps (default 10)")
    parser.add_argument("--seed", type=int, default=0, help="default 0")
    parser.add_argument("--out", help="a PNG that is written (default MODEL/samples.png)")
    parser.add_argument("--overwrite", action="store_true", help="replace it")


def _denoise(options: argparse.Namespace, rest: list[str]) -> Job:
    from companion.restoration.command import denoise_job

    return denoise_job(options, rest)


def _sample(options: argparse.Namespace, rest: list[str]) -> Job:
    from companion.restoration.sample import sample_job

    return sample_job(options, rest)


COMMANDS: dict[str, Callable[[argparse.Namespace, list[str]], Job]] = {
    "list": _list,
    "run": _run,
    "verdicts": _verdicts,
    "denoise": _denoise,
    "sample": _sample,
}
"""Each checks its arguments and returns what is to be done."""
