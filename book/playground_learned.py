"""The playground's learned samplers: levels and weights for each of its data sets and some N.

    python -m book.playground_learned

learns them from the exact denoisers, in some minutes, and writes ``playground/learned.js``.
"""

from __future__ import annotations

import json
import math
from typing import Any

import torch

from book.playground import SOURCE
from companion import oracles, samplers

FILE = SOURCE / "learned.js"
STEPS = (3, 5, 10, 20)
SIGMA_MAX = 10.0
HEAD = (
    "// Learned samplers: for each data set and N the levels, and the weights c_i and e_i "
    "(eq-ov-learned).\n"
    "// Made by `python -m book.playground_learned`, with samplers.learn on the exact denoiser.\n"
)
START = "Playground.LEARNED = "


def arc(
    x: float, y: float, width: float, height: float, start: float, end: float, count: int
) -> list[tuple[float, float]]:
    """Points on an ellipse around (x, y), between two angles in degrees."""
    angles = [math.radians(start + (end - start) * i / (count - 1)) for i in range(count)]
    return [(x + width * math.cos(a), y + height * math.sin(a)) for a in angles]


def stroke(x: float, y: float, to_x: float, to_y: float, count: int) -> list[tuple[float, float]]:
    """Points on a line, both ends among them."""
    shares = [i / (count - 1) for i in range(count)]
    return [(x + u * (to_x - x), y + u * (to_y - y)) for u in shares]


def laws() -> dict[str, oracles.GaussianMixture]:
    """The playground's data sets by name, as in ``state.js``; a test compares them."""
    moons = arc(-0.5, -0.3, 1.1, 1.2, 0, 180, 11) + arc(0.5, 0.3, 1.1, 1.2, 180, 360, 11)
    letters = [
        *stroke(-1.8, -0.7, -1.8, 0.7, 6), *stroke(-1.64, 0.46, -1.16, -0.46, 4),
        *stroke(-1, -0.7, -1, 0.7, 6), *arc(0, 0, 0.55, 0.7, 0, 330, 12),
        *stroke(1, -0.7, 1, 0.7, 6), *arc(1.3, 0.35, 0.4, 0.35, 95, -95, 6),
    ]  # fmt: skip
    three = [(-1.2, -0.3), (0.9, 0.9), (0.6, -1.1)]
    made: dict[str, tuple[Any, Any, Any]] = {
        "ring": (arc(0, 0, 1.4, 1.4, 0, 315, 8), 0.1, None),
        "moons": (moons, 0.1, None),
        "letters": (letters, 0.07, None),
        "three": (three, [0.2, 0.35, 0.1], [1.0, 2.0, 0.5]),
        "one": ([(0.0, 0.0)], 0.6, None),
    }
    return {name: oracles.GaussianMixture(*parts) for name, parts in made.items()}


def learn() -> dict[str, dict[str, list[tuple[float, ...]]]]:
    """Levels, ``c`` and ``e`` by data set and N."""
    found: dict[str, dict[str, list[tuple[float, ...]]]] = {}
    for name, law in laws().items():
        made = samplers.learn(
            law.denoiser,
            (2,),
            STEPS,
            sigma_max=SIGMA_MAX,
            generator=torch.Generator().manual_seed(0),
            dtype=torch.float64,
        )
        found[name] = {
            str(n): [tuple(map(short, row)) for row in (s.sigmas, s.weights, s.second)]
            for n, s in made.items()
        }
        for n, sampler in made.items():
            facts = sampler.facts
            print(f"{name}, N = {n}: {facts['start_error']:.4f} -> {facts['error']:.4f}")
    return found


def short(value: float) -> float:
    """Four significant digits."""
    return float(f"{value:.4g}")


def load() -> dict[str, dict[int, samplers.LearnedSampler]]:
    """What ``learned.js`` has, by data set and N."""
    text = FILE.read_text(encoding="utf-8").removeprefix(HEAD)
    table = json.loads(text.removeprefix(START).rstrip().removesuffix(";"))
    return {
        name: {int(n): samplers.LearnedSampler(*parts) for n, parts in by_steps.items()}
        for name, by_steps in table.items()
    }


def main() -> None:
    """Learn, and write the file."""
    sets = []
    for name, by_steps in learn().items():
        rows = (f'"{n}": {json.dumps(parts)}' for n, parts in by_steps.items())
        sets.append(f'"{name}": {{\n' + ",\n".join(rows) + "\n}")
    table = ("{\n" + ",\n".join(sets) + "\n}").replace(", ", ",").replace(": ", ":")
    FILE.write_text(f"{HEAD}{START}{table};\n", encoding="utf-8")


if __name__ == "__main__":
    main()
