"""Two processes that write the same thing at once: nothing may fail or be left broken.

    python benchmarks/two_writers.py [--rounds 60] [--only record fit site chapter]

Each round starts two writers at once, and a reader beside them where there is something to read at
any moment. A round is broken if one of the three fails, or if what is left is not whole. Needs a
system with fork. Prints the counts; ends with 1 if anything is broken.
"""

# ruff: noqa: D102
from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import torch
from kills import Fit, fork, succeeded

from book import project
from companion.experiments import Results, records, tidy

WRITES = 8


class Pair:
    """What is written twice at once, in ``folder``."""

    def __init__(self, folder: Path):
        self.folder = folder

    def write(self, number: int) -> None:
        raise NotImplementedError

    def read(self) -> None:
        """Raise if there is no whole result; called after the writers, or all the time."""
        raise NotImplementedError

    reads_beside = False


class Record(Pair):
    """Two results in turn under the name of one record."""

    reads_beside = True

    def write(self, number, writes=WRITES):
        for turn in range(writes):
            x = torch.full((2_000,), float(number + 2 * (turn % 2)))
            table = tidy([x.mean()], {"seed": [0]}, measure="mean")
            records.save(Results(table, {"x": x}), "record", self.folder)

    def read(self):
        results = records.load("record", self.folder)
        assert results.value(measure="mean") == results.arrays["x"].mean(), "a mixture of two"


class Training(Pair):
    """Two runs with one checkpoint folder."""

    def write(self, number):
        Fit(self.folder).work()

    def read(self):
        Fit(self.folder).check()


class Site(Pair):
    """Two builds of one site, with the same folder of work."""

    def write(self, number, writes=3):
        site, new = self.folder / "site", self.folder / "work"
        for _ in range(writes):
            with project.alone(self.folder / "build"):
                project.mend(site)
                new.mkdir()
                for page in range(100):
                    (new / f"{page}.html").write_text(str(number))
                project.swap(new, site)

    def read(self):
        pages = [path.read_text() for path in (self.folder / "site").iterdir()]
        assert len(pages) == 100 and len(set(pages)) == 1, "half a site"


class Chapter(Pair):
    """Two executions of one chapter."""

    reads_beside = True

    def write(self, number, writes=WRITES):
        for _ in range(writes):
            project.write_atomically(self.folder / "chapter.ipynb", str(number) * 100_000)

    def read(self):
        text = (self.folder / "chapter.ipynb").read_text(encoding="utf-8")
        assert len(text) == 100_000 and len(set(text)) == 1, "half a notebook"


PAIRS: dict[str, type[Pair]] = {
    "record": Record, "fit": Training, "site": Site, "chapter": Chapter,
}  # fmt: skip


def broken(kind: type[Pair]) -> bool:
    """Run one round."""
    with tempfile.TemporaryDirectory() as folder:
        one = kind(Path(folder))
        if one.reads_beside:
            one.write(0, 1)  # type: ignore[call-arg]

        def reader() -> None:
            for _ in range(4 * WRITES):
                one.read()

        jobs = [fork(lambda: one.write(0)), fork(lambda: one.write(1))]
        jobs += [fork(reader)] if one.reads_beside else []
        went_well = [succeeded(job) for job in jobs]
        return not all([*went_well, succeeded(fork(one.read))])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=60, help="of each kind (default 60)")
    parser.add_argument("--only", nargs="+", choices=PAIRS, default=list(PAIRS))
    given = parser.parse_args()
    os.environ |= {"COMPANION_PROGRESS": "0", "COMPANION_COMMIT": "a campaign"}
    torch.set_num_threads(1)
    wrong = 0
    print(f"{'kind':12} {'rounds':>6} {'broken':>6}")
    for name in given.only:
        count = sum(broken(PAIRS[name]) for _ in range(given.rounds))
        wrong += count
        print(f"{name:12} {given.rounds:6} {count:6}", flush=True)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
