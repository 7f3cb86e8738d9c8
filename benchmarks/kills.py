"""Kill -9 at random moments, and look at what is left.

    python benchmarks/kills.py [--kills 50] [--only record checkpoint ...] [--seed 0]

A process writes, is killed at a moment drawn at random, and what it left is looked at: files must
be the old or the new ones, whole, and the next run must come to the result of one that was never
killed, bit for bit. Needs a system with fork. Prints the counts; ends with 1 if anything is broken.
"""

# ruff: noqa: D102
from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from book import project
from companion import checkpoint, denoisers, networks, objectives, training
from companion.experiments import Experiment, Results, Session, images, records, tidy


class Kind:
    """What is killed: ``work`` writes, ``check`` looks at what is left, both in ``folder``."""

    fresh = False  # whether each kill needs a new folder: one that is finished has no work left

    def __init__(self, folder: Path):
        self.folder = folder

    def work(self) -> None:
        raise NotImplementedError

    def check(self) -> None:
        """Raise if anything is broken."""
        raise NotImplementedError


class Record(Kind):
    """A record that is written again and again; its table is the mean of its arrays."""

    def work(self):
        for number in range(7):
            x = torch.full((20_000,), float(number))
            table = tidy([x.mean()], {"seed": [0]}, measure="mean")
            records.save(Results(table, {"x": x}), "record", self.folder)

    def check(self):
        results = records.load("record", self.folder)
        assert results.value(measure="mean") == results.arrays["x"].mean(), "a mixture of two"


class Notebook(Kind):
    """An executed chapter of a megabyte."""

    def work(self):
        for number in range(7):
            text = json.dumps({"cells": [number] * 300_000})
            project.write_atomically(self.folder / "chapter.ipynb", text)

    def check(self):
        cells = json.loads((self.folder / "chapter.ipynb").read_text(encoding="utf-8"))["cells"]
        assert len(cells) == 300_000 and len(set(cells)) == 1, "half a notebook"


class Site(Kind):
    """A site of 300 pages that is swapped in."""

    def work(self):
        for number in range(4):
            new = self.folder / f"new-{os.getpid()}-{number}"
            new.mkdir()
            for page in range(300):
                (new / f"{page}.html").write_text(str(number))
            project.swap(new, self.folder / "site")

    def check(self):
        site = self.folder / "site"
        project.mend(site)  # as the next build begins
        pages = [path.read_text() for path in site.iterdir()]
        assert len(pages) == 300 and len(set(pages)) == 1, "half a site"


@dataclasses.dataclass(frozen=True)
class Means(Experiment):
    """Means of draws, for the memory."""

    draws: int = 200_000

    def run(self, session):
        x = torch.randn(self.draws, generator=session.generator(0))
        return Results(tidy([x.mean()], {"seed": [0]}, measure="mean"), {"x": x[:20_000]})


class Memory(Kind):
    """An experiment whose results are remembered."""

    def work(self):
        session = Session("cpu", memory=self.folder)
        for _ in range(4):
            session.run(Means, again=True)

    def check(self):
        results = Session("cpu", memory=self.folder).run(Means)
        expected = Means().run(Session("cpu"))
        assert results.value(measure="mean") == expected.value(measure="mean"), "another result"
        assert (results.arrays["x"] == expected.arrays["x"]).all(), "other arrays"


class Fit(Kind):
    """A training run with a checkpoint after every step."""

    fresh = True

    def work(self, folder: str | None = "checkpoint"):
        net = networks.seeded(lambda: denoisers.Preconditioned(networks.MLP(2, width=32), 1.0), 0)
        data = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
        fitted = training.fit(
            net, objectives.DenoisingScoreMatching(), data, steps=30, batch_size=32, device="cpu",
            checkpoint=self.folder / folder if folder else None, checkpoint_every=1,
        )  # fmt: skip
        return checkpoint.digest(fitted.denoiser)

    def check(self):
        assert self.work() == self.work(None), "other weights after a resumed run"


class Cache(Kind):
    """A network of an image experiment, that others take from the cache."""

    fresh = True
    setting: images.Setting | None = None

    def work(self, folder: str | None = "cache"):
        config = images.ImageExperiment(**images.recipe("digits", "smoke"))
        if Cache.setting is None:
            Cache.setting = images.Setting(config)
        Cache.setting._cache = self.folder / folder if folder else None
        return checkpoint.digest(Cache.setting.fit(Cache.setting.plain(), 0))

    def check(self):
        assert self.work() == self.work() == self.work(None), "other weights from the cache"


KINDS = {
    "record": Record, "memory": Memory, "checkpoint": Fit, "cache": Cache, "site": Site,
    "notebook": Notebook,
}  # fmt: skip


def fork(job: Callable[[], object]) -> int:
    """Do a job in a process of its own; return the process."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        torch.set_num_threads(1)
        job()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def succeeded(child: int) -> bool:
    return os.waitpid(child, 0)[1] == 0


def campaign(kind: type[Kind], kills: int, draw: random.Random) -> tuple[int, int]:
    """Kill so many times; return how many were killed in time, and after how many it was broken."""
    killed = broken = 0
    while killed < kills:
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            assert succeeded(fork(kind(Path(folder)).work)), f"{kind.__name__} does not run"
            lasts = time.perf_counter() - began
            for number in range(min(10, kills - killed)):
                one = kind(Path(folder) / str(number) if kind.fresh else Path(folder))
                one.folder.mkdir(exist_ok=True)
                child = fork(one.work)
                time.sleep(draw.uniform(0, lasts))
                os.kill(child, signal.SIGKILL)
                killed += os.waitpid(child, 0)[1] == signal.SIGKILL
                broken += not succeeded(fork(one.check))
    return killed, broken


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=50, help="of each kind (default 50)")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    os.environ |= {"COMPANION_PROGRESS": "0", "COMPANION_COMMIT": "a campaign"}
    torch.set_num_threads(1)
    draw = random.Random(given.seed)
    total = wrong = 0
    print(f"{'kind':12} {'kills':>5} {'broken':>6}", flush=True)
    for name in given.only:
        killed, broken = campaign(KINDS[name], given.kills, draw)
        total, wrong = total + killed, wrong + broken
        print(f"{name:12} {killed:5} {broken:6}", flush=True)
    print(f"{'all':12} {total:5} {wrong:6}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
