"""``companion denoise`` against the usual filters on pictures whose truth is known.

Two folders, of pictures that ship with scikit-image, in 256 grey levels, with white Gaussian noise
of standard deviation 25: ``many``, 20 different pictures of 256 x 256, and ``one``, 100 pieces of
128 x 128 of one photograph (the retina, 1411 x 1411). The tool is run as a user runs it, with the
minutes given, and finds the noise level itself; the filters are given the true one, and their
strength is the best of a few for the folder, chosen by the truth. BM3D is measured where the
package is installed.

    python benchmarks/folder.py                          # 20 pictures, 10 minutes
    python benchmarks/folder.py --kind one --minutes 10
    python benchmarks/folder.py --work DIR               # goes on where it was stopped

Prints a table in Markdown; DIR/KIND/results.json has the same numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from companion.experiments.your_images.pictures import many, noisy, one, psnr

SIGMA = 25.0


def run_tool(folder: Path, arguments: list[str]) -> dict[str, float]:
    """Run the command; its seconds and its largest memory."""
    out = folder / "out"
    record = folder / "run.json"
    if record.exists():
        return json.loads(record.read_text())
    command = [sys.executable, "-m", "companion", "denoise", str(folder / "noisy")]
    started = time.perf_counter()
    subprocess.run([*command, "--out", str(out), *arguments], check=True)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_memory_gb": usage.ru_maxrss / 1e6,
    }
    record.write_text(json.dumps(found))
    return found


def filters(clean: dict, seen: dict, done: dict, keep) -> None:
    """Restore by every filter and strength; what is there already is left."""
    from companion.restoration.comparison import classic_methods

    for method in classic_methods():
        for parameter in method.parameters:
            key = f"{method.name} {parameter}"
            row = done.setdefault(key, {})
            for name in clean:
                if name not in row:
                    page = (seen[name] / SIGMA).astype(np.float32)[None]
                    restored = method.function(page, parameter)[0] * SIGMA
                    row[name] = psnr(clean[name], restored)
            keep()


def table(clean: dict, ours: dict[str, float], done: dict) -> dict[str, dict[str, float]]:
    """The best strength of each filter, and ours: method -> picture -> PSNR."""
    best: dict[str, dict[str, float]] = {}
    for key, row in done.items():
        name = key.rsplit(" ", 1)[0]
        if name not in best or np.mean(list(row.values())) > np.mean(list(best[name].values())):
            best[name] = row
    return {**{k: {n: v[n] for n in clean} for k, v in best.items()}, "this tool": ours}


def main() -> None:
    """Make the folder, run all, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kind", choices=("many", "one"), default="many")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--steps", type=int, help="training steps instead of minutes")
    parser.add_argument("--work", type=Path, default=Path("_build/folder"))
    parser.add_argument("--pictures", type=int, help="only so many")
    options = parser.parse_args()
    folder = options.work / options.kind
    (folder / "noisy").mkdir(parents=True, exist_ok=True)
    clean = many() if options.kind == "many" else one()
    clean = dict(list(clean.items())[: options.pictures])
    seen = {n: p.astype(np.float32) for n, p in noisy(clean, SIGMA, 0).items()}
    for name, picture in seen.items():
        np.save(folder / "noisy" / f"{name}.npy", picture)
    arguments = ["--minutes", str(options.minutes)]
    arguments += ["--steps", str(options.steps)] if options.steps else []
    cost = run_tool(folder, arguments)
    ours = {n: psnr(clean[n], np.load(folder / "out" / "denoised" / f"{n}.npy")) for n in clean}
    path = folder / "filters.json"
    done = json.loads(path.read_text()) if path.exists() else {}
    filters(clean, seen, done, lambda: path.write_text(json.dumps(done)))
    methods = table(clean, ours, done)
    result = {"kind": options.kind, "cores": os.cpu_count(), "minutes": options.minutes,
              "steps": options.steps, **cost, "psnr": methods}  # fmt: skip
    (folder / "results.json").write_text(json.dumps(result, indent=1))
    print("| picture | " + " | ".join(methods) + " |\n|---" * 1 + "|---:" * len(methods) + "|")
    for name in clean:
        print(f"| {name} | " + " | ".join(f"{row[name]:.2f}" for row in methods.values()) + " |")
    means = [np.mean(list(row.values())) for row in methods.values()]
    print("| **mean** | " + " | ".join(f"**{m:.2f}**" for m in means) + " |")
    print(
        f"\n{len(clean)} pictures, {cost['seconds'] / 60:.1f} minutes on {os.cpu_count()} cores "
        f"({cost['cpu_seconds']:.0f} s of CPU time), {cost['peak_memory_gb']:.2f} GB."
    )


if __name__ == "__main__":
    main()
