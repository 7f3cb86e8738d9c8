"""A figure that the reader moves."""

from __future__ import annotations

import base64
import hashlib
import html
import itertools
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from string import Template
from typing import Any

import numpy as np
from torch import Tensor

from companion import checks
from companion._html import STYLE
from companion.plotting.figures import array, plane
from companion.plotting.style import METHODS, PALETTE

__all__ = ["TrajectoryPlayer"]


class TrajectoryPlayer:
    """An interactive figure of sampling paths, for a static page: no kernel, no outside script.

    Play and pause, a slider over steps, and a slider for each parameter in ``controls``. Works with
    the keyboard, follows dark mode and the reader's wish for reduced motion.

    Parameters
    ----------
    paths : (T, N, 2) tensor, or a dict of them
        A dict of name -> paths draws a panel each, side by side, at the same share of their steps
        (T may differ). With ``controls``: a dict keyed by tuples of one value for each control,
        each entry in one of the two forms above; all panels must have the same names.
    sigmas : (T,) noise levels, or a dict keyed as the controls' tuples, optional
        Shown beside the step.
    title : str
        A line above the figure.
    alt : str
        What there is to see, for readers who do not see it.
    labels : dict, optional
        Panel name -> what is written above it (default: the label in ``METHODS``, or the name).
    controls : dict of str -> sequence, optional
        Parameter name -> its values, in the order of the slider.
    start : dict, optional
        Parameter name -> the value that it opens at (default: its first).
    target : (M, 2) tensor, optional
        Points that are drawn faintly behind: the data.
    groups : (N,) whole numbers from 0, optional
        Group of each point, 8 at most, told by colour.
    limit : float, optional
        Show [-limit, limit] in both directions at every step (default: the view follows the points
        and closes in on them as they do).

    Raises
    ------
    ValueError
        If shapes or keys do not fit, or the figure would exceed 2 MB.

    Notes
    -----
    Coordinates are stored as 16-bit integers of the largest one: 400 points over 50 steps take
    about 110 KB.
    """

    LIMIT = 2_000_000

    def __init__(
        self,
        paths: Any,
        sigmas: Any = None,
        *,
        title: str,
        alt: str,
        labels: Mapping[str, str] | None = None,
        controls: Mapping[str, Sequence[Any]] | None = None,
        start: Mapping[str, Any] | None = None,
        target: Tensor | None = None,
        groups: Tensor | Sequence[int] | None = None,
        limit: float | None = None,
    ):
        if limit is not None:
            limit = checks.number("limit", limit, above=0)
        for name, text in (("title", title), ("alt", alt)):
            if not isinstance(text, str) or not text.strip():
                raise ValueError(f"{name}: got {text!r}; allowed is a text that is not empty")
        self.title = title
        self.alt = alt
        if controls is not None:
            checks.instance("controls", controls, Mapping, "a dict of name -> values")
        if labels is not None:
            checks.instance("labels", labels, Mapping, "a dict of panel -> text")
        controls = {name: list(values) for name, values in (controls or {}).items()}
        opened = {name: values[0] for name, values in controls.items() if values}
        if start is not None:
            opened |= checks.instance("start", start, Mapping, "a dict of name -> value")
        for name, value in opened.items():
            if value not in controls.get(name, []):
                raise ValueError(f"start: got {name!r} at {value!r}; allowed are {controls}")
        keys: list[tuple] = list(itertools.product(*controls.values()))
        if not controls:
            paths = {(): paths}
        if not isinstance(paths, Mapping) or set(paths) != set(keys):
            got = sorted(map(str, paths)) if isinstance(paths, Mapping) else type(paths).__name__
            raise ValueError(
                f"paths: got {got}; with these controls allowed is a dict with the {len(keys)} "
                f"keys {', '.join(map(str, keys[:3]))}, ..."
            )
        sets = [self._panels(paths[key]) for key in keys]
        self.panels = list(sets[0])
        self.steps = max(len(p) for panels in sets for p in panels.values()) - 1
        for key, panels in zip(keys, sets):
            if list(panels) != self.panels:
                raise ValueError(
                    f"paths: the entry {key} has panels {list(panels)}; the first {self.panels}"
                )
        everything = [p for panels in sets for p in panels.values()]
        self.count = everything[0].shape[1]
        if groups is not None:
            groups = checks.listed("groups", groups, "whole numbers from 0 to 7")
            groups = [checks.whole("groups", g, 0, 7) for g in groups]
            if any(p.shape[1] != len(groups) for p in everything):
                raise ValueError(f"groups: got {len(groups)} for {self.count} points")
        behind = None if target is None else plane("target", target, 2)
        extremes = [*(np.abs(p).max() for p in everything), 1e-9]
        if behind is not None:
            extremes.append(np.abs(behind).max())
        self._unit = float(max(extremes)) / 32767
        ends = np.concatenate([np.abs(p[-1]).ravel() for p in everything])
        closest = 1.15 * float(np.quantile(ends, 0.99)) or 1.0
        names = {name: entry[2] for name, entry in METHODS.items()} | dict(labels or {})
        self._config = {
            "alt": alt,
            "panels": [names.get(name, name) for name in self.panels],
            "controls": [
                {
                    "name": name,
                    "values": [f"{v:g}" if isinstance(v, float) else str(v) for v in values],
                    "start": values.index(opened[name]),
                }
                for name, values in controls.items()
            ],
            "unit": self._unit,
            "groups": groups or [],
            "colors": self._colors(groups),
            "target": None if behind is None else self._encode(behind),
            "sets": [
                {
                    "sigmas": self._levels(sigmas, key, panels),
                    "view": [limit] if limit else self._view(panels, closest),
                    "panels": [{"steps": len(p), "xy": self._encode(p)} for p in panels.values()],
                }
                for key, panels in zip(keys, sets)
            ],
        }
        size = len(self._repr_html_())
        if size > self.LIMIT:
            raise ValueError(
                f"paths: the figure takes {size / 1e6:.1f} MB; allowed are "
                f"{self.LIMIT / 1e6:.0f} MB. Give fewer points, steps or control values"
            )

    @staticmethod
    def _panels(paths: Any) -> dict[str, np.ndarray]:
        if not isinstance(paths, Mapping):
            paths = {"": paths}
        if not paths:
            raise ValueError("paths: got no path; allowed are one or more")
        panels = {str(name): plane("paths", p, 3) for name, p in paths.items()}
        for name, p in panels.items():
            if len(p) < 2 or not p.shape[1]:
                raise ValueError(f"paths: {name!r} has shape {p.shape}; allowed is T >= 2, N >= 1")
            if not np.isfinite(p).all():
                raise ValueError(f"paths: {name!r} has values that are not finite")
        return panels

    @staticmethod
    def _levels(sigmas: Any, key: tuple, panels: Mapping[str, np.ndarray]) -> list[str]:
        if sigmas is None:
            return []
        levels = array("sigmas", sigmas[key] if isinstance(sigmas, Mapping) else sigmas)
        steps = max(map(len, panels.values()))
        if levels.shape != (steps,):
            raise ValueError(f"sigmas: got shape {levels.shape}; allowed is ({steps},), as paths")
        return [f"{s:.3g}" for s in levels]

    @staticmethod
    def _view(panels: Mapping[str, np.ndarray], limit: float) -> list[float]:
        """Half-widths of the view, step by step: what shows nearly all points, ``limit`` at least.

        It depends on the widest panel, and never grows again once it has shrunk.
        """
        steps = max(map(len, panels.values()))
        halves = [limit]
        for share in np.linspace(1, 0, steps)[1:]:
            states = [p[round(share * (len(p) - 1))] for p in panels.values()]
            reach = max(float(np.quantile(np.abs(x), 0.95)) for x in states)
            halves.append(max(halves[-1], 1.15 * reach))
        return [float(f"{half:.4g}") for half in reversed(halves)]

    @staticmethod
    def _colors(groups: Any) -> list[str]:
        if groups is None:
            return ["#2A8FD0"]  # between the palette's two blues: reads on white and on black
        order = ("blue", "orange", "green", "vermillion", "purple", "sky", "grey", "yellow")
        return [PALETTE[name] for name in order[: max(groups) + 1]]

    def _encode(self, x: np.ndarray) -> str:
        return base64.b64encode(np.rint(x / self._unit).astype("<i2").tobytes()).decode()

    def __repr__(self) -> str:
        return f"TrajectoryPlayer: {self.title}. {self.alt}"

    def _repr_html_(self) -> str:
        config = json.dumps(self._config, separators=(",", ":")).replace("<", "\\u003c")
        digest = hashlib.sha256(f"{self.title}{config}".encode()).hexdigest()
        page = resources.files("companion.plotting").joinpath("player.html")
        return STYLE + Template(page.read_text(encoding="utf-8")).substitute(
            ID=f"player-{digest[:10]}",
            TITLE=html.escape(self.title),
            ALT=html.escape(self.alt),
            CONFIG=config,
        )
