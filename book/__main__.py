"""The jobs of the build, from the repository root: ``python -m book JOB ...``; see the Makefile."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from book import project
from book.project import PROFILES

STAGES = ("build", "test", "serve", "rehearse", "times")
"""The jobs of a person; make calls the others."""


def main() -> int:
    """Read the command line and do one job; each loads only what it needs."""
    given = parser().parse_args()
    if given.job in STAGES:
        return stage(given)
    if given.job == "experiments":
        from book import experiments

        return experiments.run(given.profile, given.seed, given.target)
    if given.job == "run":
        from book import run

        return run.run(given.profile, given.seed, given.source.resolve(), given.target)
    if given.job in ("site", "linkcheck"):
        from book import site

        if given.job == "linkcheck":
            return site.linkcheck(given.profile)
        with project.alone(project.BUILD / "sphinx" / given.profile):
            project.mend(given.folder.resolve())
            return site.site(given.profile, given.folder, given.only)
    if given.job == "publish":
        from book import publish

        return publish.publish(given.step, given.folder, given.remote)
    if given.job == "confirm":
        from book import confirm

        return confirm.confirm(given.names)
    if given.job == "seeds":
        from book import seeds

        return seeds.add_seeds(given.name)
    if given.job == "reading":
        from book import reading

        print(reading.listed())
        return 0
    from book import notebooks

    if given.job == "notebooks":
        return notebooks.write(given.check)
    if given.job == "script":
        return notebooks.scripts(given.profile, given.seed)
    if given.job == "readme":
        from book import readme

        return readme.write()
    from book import picture

    for path in picture.make():
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} KB")
    return 0


def stage(given: argparse.Namespace) -> int:
    """Do a job that a person asks for."""
    if given.job == "times":
        from book import times

        print(times.plain_table(given.profile))
        return 0
    if given.job == "rehearse":
        from book import rehearsal

        return rehearsal.run()
    from book import build

    if given.job == "test":
        return build.test(given.arguments)
    if given.job == "serve":
        return build.serve(given.profile, given.port)
    return build.build(given.profile, given.seed, given.jobs)


def parser() -> argparse.ArgumentParser:
    """The jobs and their arguments."""
    top = argparse.ArgumentParser(prog="python -m book", description=__doc__)
    jobs = top.add_subparsers(dest="job", required=True, metavar="JOB")

    def job(name: str, says: str, *arguments: str) -> argparse.ArgumentParser:
        one = jobs.add_parser(name, help=says, description=says)
        for argument in arguments:
            if argument == "profile":
                one.add_argument("profile", choices=PROFILES)
            else:
                one.add_argument(argument, type=int if argument == "seed" else Path)
        return one

    one = job("build", "make the book: run the experiments and the chapters, build the site")
    one.add_argument("profile", choices=PROFILES, nargs="?", default="cpu")
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--jobs", type=int, help="chapters at a time (default: as many as cores)")
    one = job("test", "build at tiny sizes, and check everything")
    one.add_argument("arguments", nargs="*", help="of pytest, after --")
    one = job("serve", "show the built site")
    one.add_argument("profile", choices=PROFILES, nargs="?", default="cpu")
    one.add_argument("--port", type=int, default=8000)
    job("times", "say what each chapter took", "profile")
    job("rehearse", "rehearse a fork: its workflow, its branches, its notebook in Colab")
    job("experiments", "run all experiments; write what they took", "profile", "seed", "target")
    job("run", "execute one chapter", "profile", "seed", "source", "target")
    one = job("site", "build the site from the executed chapters", "profile", "folder")
    one.add_argument("--only", help="a page beside the first, such as notebooks/00-one-denoiser")
    job("linkcheck", "ask every address that the site links to", "profile")
    one = job("notebooks", "write the .ipynb that Colab opens")
    one.add_argument("--check", action="store_true", help="only say whether they are up to date")
    job("script", "write each chapter as a plain script", "profile", "seed")
    one = job("confirm", "see whether today's code gives what the code of the records gave")
    one.add_argument("names", nargs="*", help="of records (default: all)")
    one = job("seeds", "run the seeds that a record of 'long' lacks, and join them to it")
    one.add_argument("name", help="of an experiment, such as tweedie.image_bridge")
    job("reading", "count words, figures, tables and lines of code of each chapter")
    job("readme", "write the findings in the README from the published verdicts")
    job("picture", "remake the moving picture of the README and the first page")
    one = job("publish", "write the notebooks for Colab; push them, and the site, to branches")
    steps = ("check", "notebooks", "push")
    one.add_argument("step", choices=steps, help="say what is missing, write notebooks, or push")
    one.add_argument("folder", type=Path, nargs="?", help="of the notebooks, or of the site")
    one.add_argument("--remote", default="origin")
    return top


if __name__ == "__main__":
    sys.exit(main())
