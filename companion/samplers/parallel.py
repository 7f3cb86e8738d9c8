"""A sampler that takes all noise levels, or a window of them, at once."""

from __future__ import annotations

import math
import warnings
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from companion import checks, devices
from companion.denoisers import Denoiser, denoise
from companion.noise import Generator, check_sigmas, randn_like
from companion.samplers.multistep import midpoint_weights, third_order_weights

__all__ = ["SOLVERS", "PicardIteration", "picard"]

SOLVERS = {
    "ddim": (1, None),
    "dpmpp_2m": (2, midpoint_weights),
    "dpmpp_3m": (3, third_order_weights),
}
"""Sequential samplers that ``picard`` can solve: answers that a step uses, and their weights."""


class PicardIteration(NamedTuple):
    """What ``picard`` tells its callback after each iteration."""

    iteration: int
    """From 1: network calls so far, one after the other."""
    evaluations: int
    """Noise levels evaluated so far, for each sample."""
    start: int
    """Position in ``sigmas`` up to which the trajectory has converged."""
    x: Tensor
    """The whole trajectory as it is now, (N + 1, B, *shape)."""
    change: Tensor
    """How far each state of the window moved, in units of ``sqrt(1 + sigma^2)``, (window,).

    The largest over the samples that can converge; infinite where one is not finite yet."""


@torch.no_grad()
def picard(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    *,
    window: int | None = None,
    tolerance: float = 1e-3,
    max_iterations: int | None = None,
    stochastic: bool = False,
    solver: str = "ddim",
    semilinear: bool = False,
    anderson: int = 0,
    generator: Generator = None,
    callback: Callable[[PicardIteration], object] | None = None,
) -> Tensor:
    """Picard iteration on the whole trajectory, or a sliding window of it (eq-nc-picard).

    The states of the sequential sampler, variance preserving ``v_k = x_k / sqrt(1 + sigma_k^2)``,
    solve ``v_k = v_0 + sum of the steps before k``. Starting from ``v_0`` everywhere, each
    iteration evaluates the denoiser on all states of the window in one batch and sums the steps
    anew (Shih et al. 2023, algorithm 1). States that move less than ``tolerance`` are kept and the
    window slides past them. The state after the first of a window is always exact, so N iterations
    are enough, and then the result is that of ``ddim`` (or of ``ddpm`` with this noise).

    A step is ``x' = D + a (x - D) + noise`` with a known ``a``. In the semilinear form
    (eq-nc-semilinear) its linear part is unrolled exactly and only the ``D`` are iterated on, so
    that every iterate lies between the start and what the denoiser says. The plain sum multiplies
    the start by a truncated exponential series first (eq-nc-series).

    Parameters
    ----------
    denoiser, x, sigmas : as in ``ddim``
    window : int, optional
        Levels evaluated at once; memory grows with it. Default: all N.
    tolerance : float, at least 0
        Root-mean-square change, in units of ``sqrt(1 + sigma^2)``, below which a state counts as
        converged (default 1e-3); the largest over the batch decides. With 0 only the number of
        iterations ends the loop, or a change of exactly nothing.
    max_iterations : int, optional
        Stop there with what there is. Default: N, which is always enough.
    stochastic : bool
        Solve ``ddpm`` with its noise drawn beforehand, instead of ``ddim`` (default).
    solver : {"ddim", "dpmpp_2m", "dpmpp_3m"}
        Whose steps are solved (default "ddim"): the result is that of this sampler. Of DPM-Solver++
        a step's ``D`` is its weighted sum of the answers at two or three levels.
    semilinear : bool
        Sum with the linear part of the step unrolled (default: plain sums, as in the paper). The
        fixed point is the same.
    anderson : int, at least 0
        Earlier iterations to extrapolate from (default 0: none), by triangular Anderson
        acceleration (Tang et al. 2024, *Accelerating Parallel Sampling of Diffusion Models*): the
        mixture of the last iterations that would have made the residuals up to a level smallest is
        taken for the state after it, sample by sample. They recommend 1 to 4. The memory grows by
        two trajectories each. The fixed point and the largest number of iterations are the same.
    generator : source of that noise; the draws are those of ``ddpm`` with the same generator.
    callback : called with a ``PicardIteration`` after each iteration (default: none)
        It says how many iterations and evaluations were made.

    Returns
    -------
    State at ``sigmas[-1]``, (B, *shape). A window of W levels costs W evaluations an iteration.

    Warns
    -----
    RuntimeWarning
        If a state that is reached exactly is not finite, because the start or the denoiser's answer
        is not: such samples cannot converge. They are named, come back as they are, and the others
        converge without them.

    Raises
    ------
    TypeError, ValueError
        If the window, the number of iterations or the tolerance is not as above.
    """
    checks.batch("x", x)
    checks.generator("generator", generator)
    if callback is not None:
        checks.function("callback", callback)
    levels = check_sigmas(sigmas)
    steps = len(levels) - 1
    window = steps if window is None else checks.whole("window", window)
    limit = steps if max_iterations is None else checks.whole("max_iterations", max_iterations)
    checks.number("tolerance", tolerance, at_least=0)
    checks.choice("solver", solver, SOLVERS)
    if stochastic and solver != "ddim":
        raise ValueError(f"solver: got {solver!r} with stochastic=True; allowed is 'ddim'")
    memory = checks.whole("anderson", anderson, at_least=0)

    batch, one = len(x), [1] * x.ndim
    level = torch.tensor(levels, dtype=torch.float64)
    kept = (level[1:] / level[:-1]) ** (2 if stochastic else 1)
    noise = _ddpm_noise(x, level, generator) if stochastic else x.new_zeros(steps, *one)
    scale = (1 + level**2).rsqrt()
    spread = (scale[0] / scale).to(x).view(-1, *one)
    level, scale = level.to(x), scale.to(x)
    states = spread * x.unsqueeze(0)
    move = _semilinear if semilinear else _plain
    mixed = None if solver == "ddim" else _Mixed(solver, levels, states)
    accelerated = _Anderson(memory, scale[1:]) if memory else None
    lost = torch.zeros(batch, dtype=torch.bool, device=x.device)
    start = evaluations = iteration = 0
    while start < steps and iteration < limit:
        stop = min(start + window, steps)
        width = stop - start
        here = states[start:stop]
        # All levels of a sample side by side: the samples of each run of a stack stay together.
        flat = here.transpose(0, 1).reshape(batch * width, *x.shape[1:])
        denoised = denoise(denoiser, flat, level[start:stop].repeat(batch))
        denoised = denoised.view(batch, width, *x.shape[1:]).transpose(0, 1)
        if mixed is not None:
            denoised = mixed(denoised, start)
        new = move(here, denoised, kept[start:stop], noise[start:stop], scale[start : stop + 1])
        change = (new - states[start + 1 : stop + 1]).flatten(2).square().mean(-1).sqrt()
        # The first new state is exact: a sample that is not finite there never will be.
        lost |= ~new[0].flatten(1).isfinite().all(1)
        change = change.masked_fill_(lost, 0).nan_to_num_(nan=math.inf, posinf=math.inf)
        change = change.amax(1) * scale[start + 1 : stop + 1]
        iteration += 1
        evaluations += width
        # A new state is right when those before it did not move: the first always is.
        moved = (change > tolerance).nonzero()
        right = int(moved[0]) + 1 if len(moved) else width
        if accelerated is not None:
            further = accelerated(states[start + 1 : stop + 1], new, start)
            new = torch.cat([new[:right], further[right:]])
        states[start + 1 : stop + 1] = new
        start += right
        states[stop + 1 :] = states[stop] * (spread[stop + 1 :] / spread[stop])
        if callback is not None:
            callback(PicardIteration(iteration, evaluations, start, states.clone(), change))
    if lost.any():
        named = ", ".join(map(str, lost.nonzero().flatten().tolist()))
        warnings.warn(
            f"picard: samples {named} of {batch} are not finite and cannot converge; the others "
            "are not affected",
            RuntimeWarning,
            stacklevel=3,
        )
    return states[-1]


def _plain(here: Tensor, denoised: Tensor, kept: Tensor, noise: Tensor, scale: Tensor) -> Tensor:
    """Sum the steps from the first of the states ``here`` (W, B, *shape): eq-nc-picard.

    ``scale`` (W + 1,) makes states variance preserving, at the levels of ``here`` and the next.
    """
    column = (-1, *[1] * (here.ndim - 1))
    share, before, after = (part.view(column) for part in (kept.to(here), scale[:-1], scale[1:]))
    steps = after * (denoised + share * (here - denoised) + noise) - before * here
    return (before[0] * here[0] + steps.cumsum(0)) / after


def _semilinear(
    here: Tensor, denoised: Tensor, kept: Tensor, noise: Tensor, scale: Tensor
) -> Tensor:
    """Sum with the linear part of the steps unrolled: eq-nc-semilinear, in any scale."""
    share = kept.to(here).view(-1, *[1] * (here.ndim - 1))
    parts = _unrolled(kept).to(here)
    terms = torch.cat([here[:1], denoised + noise / (1 - share)])
    finite = terms.isfinite()
    if finite.all():
        return torch.tensordot(parts, terms, 1)
    # Weights of 0 times what is not finite: a state depends only on the terms before it.
    states = torch.tensordot(parts, terms.where(finite, 0), 1)
    return states.masked_fill((~finite).cumsum(0)[1:] > 0, math.nan)


class _Mixed:
    """What takes the place of ``D`` in the steps of a multistep solver."""

    def __init__(self, solver: str, levels: list[float], states: Tensor):
        self.order, weights = SOLVERS[solver]
        rows = []
        for k, below in enumerate(levels[1:]):
            seen = levels[max(0, k + 1 - self.order) : k + 1][::-1]
            row = [1.0] if below == 0 else list(weights(seen, below))  # type: ignore[misc]
            rows.append(row + [0.0] * (self.order - len(row)))
        shape = (-1, *[1] * (states.ndim - 1))
        self.weights = [torch.tensor(w).to(states).view(shape) for w in zip(*rows)]
        self.answers = torch.zeros_like(states[:-1])

    def __call__(self, denoised: Tensor, start: int) -> Tensor:
        """Mix the answers of a window (W, B, *shape) with those at the levels before each."""
        stop = start + len(denoised)
        self.answers[start:stop] = denoised
        places = torch.arange(start, stop, device=denoised.device)
        parts = [
            weight[start:stop] * self.answers[(places - j).clamp_min(0)]
            for j, weight in enumerate(self.weights)
        ]
        return torch.stack(parts).sum(0)


class _Anderson:
    """Triangular Anderson acceleration over the last iterations (Tang et al. 2024)."""

    def __init__(self, memory: int, scale: Tensor):
        self.past: deque[tuple[int, Tensor, Tensor]] = deque(maxlen=memory)
        self.last: tuple[int, Tensor, Tensor] | None = None
        self.scale = scale  # residuals at all levels count in units of sqrt(1 + sigma^2)

    def __call__(self, here: Tensor, new: Tensor, start: int) -> Tensor:
        """Extrapolate the states ``here`` (W, B, *shape), which plain iteration makes ``new``."""
        residual = new - here
        if self.last is not None:
            before, state, old = self.last
            # Of levels that were not in the window before nothing is known: no change.
            known = max(0, min(before + len(state) - start, len(here)))
            moved, turned = torch.zeros_like(here), torch.zeros_like(here)
            moved[:known] = here[:known] - _window(state, start - before, len(here))[:known]
            turned[:known] = residual[:known] - _window(old, start - before, len(here))[:known]
            self.past.appendleft((start, moved, turned))
        self.last = (start, here.clone(), residual)
        if not self.past:
            return new
        pairs = [
            (_window(dx, start - at, len(here)), _window(dr, start - at, len(here)))
            for at, dx, dr in self.past
        ]
        moves, turns = (torch.stack(part) for part in zip(*pairs))
        wide = devices.wide(here.device)
        weight = self.scale[start : start + len(here)].view(-1, 1, 1)
        flat = turns.flatten(3) * weight
        gram = torch.einsum("iwbd,jwbd->wbij", flat, flat).to(wide).cumsum(0)
        right = torch.einsum("iwbd,wbd->wbi", flat, residual.flatten(2) * weight).to(wide)
        right = right.cumsum(0)
        trace = gram.diagonal(dim1=2, dim2=3).sum(2)
        # Where nothing is known, or not finite, the plain iteration stays.
        good = (trace > 0) & trace.isfinite() & right.isfinite().all(2)
        ridge = (1e-6 * trace).where(good, 1)[..., None, None]
        eye = torch.eye(len(pairs), dtype=wide, device=here.device)
        gram = gram.where(good[..., None, None], 0) + ridge * eye
        share = torch.linalg.solve(gram, right.where(good[..., None], 0)).to(here)
        step = torch.einsum("wbi,iwbd->wbd", share, (moves + turns).flatten(3))
        return new - step.view_as(new).where(good.view(*good.shape, *[1] * (here.ndim - 2)), 0)


def _window(values: Tensor, shift: int, width: int) -> Tensor:
    """Values from a place on, (width, ...); zeros where there are none."""
    part = values[shift : shift + width]
    return torch.cat([part, values.new_zeros(width - len(part), *values.shape[1:])])


def _ddpm_noise(x: Tensor, level: Tensor, generator: Generator) -> Tensor:
    """Noise that ``ddpm`` adds in each step, (N, B, *shape), in the order of its draws."""
    stds = level[1:].to(x) * (1 - (level[1:] / level[:-1]) ** 2).sqrt().to(x)
    return torch.stack(
        [
            randn_like(x, generator).mul_(std) if to > 0 else torch.zeros_like(x)
            for std, to in zip(stds.tolist(), level[1:].tolist())
        ]
    )


def _unrolled(kept: Tensor) -> Tensor:
    """Share of the start and of each ``D_j`` in each of W states: (W, W + 1), rows sum to one.

    ``x_k = prod(a_0 ... a_{k-1}) x_0 + sum_j (1 - a_j) prod(a_{j+1} ... a_{k-1}) D_j``, with the
    factors ``kept`` (W,).
    """
    steps = len(kept)
    rows = torch.zeros(steps, steps + 1, dtype=kept.dtype, device=kept.device)
    row = rows.new_zeros(steps + 1)
    row[0] = 1
    for k, a in enumerate(kept.tolist()):
        row = row * a
        row[k + 1] = 1 - a
        rows[k] = row
    return rows
