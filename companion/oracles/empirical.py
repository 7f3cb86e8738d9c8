"""Equal mass on each point of a data set."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from companion import checks, devices
from companion.noise import expand

__all__ = ["Empirical"]


class Empirical:
    """Equal mass on each point of a finite data set, and the exact denoiser of that.

    The data are streamed in blocks, with one pass for the posterior mean (an online softmax), so
    that the batch-by-data matrix is never formed: 256 queries against 60,000 images of 784 pixels
    need far less than a gigabyte. Squared distances are accumulated in float64: below
    ``sigma = 1e-2`` their rounding in float32 is larger than the differences that decide.

    Parameters
    ----------
    data : (N, *shape) tensor
        Kept as it is, on its device; queries are moved there and results moved back.
    block : int
        Data points a block (default 4096).
    """

    def __init__(self, data: Tensor, *, block: int = 4096):
        checks.batch("data", data, at_least=1)
        checks.finite("data", data)
        self.data = data
        self.block = checks.whole("block", block)
        self._flat = data.reshape(len(data), -1)
        # Where it is float32 (Metal) the smallest levels lose digits.
        self._wide = devices.wide(data.device)

    def __repr__(self) -> str:
        return f"Empirical({len(self.data)} points of shape {tuple(self.data.shape[1:])})"

    def _stream(self, x: Tensor, visit: Callable[[Tensor, Tensor, int], None]) -> None:
        """Call ``visit(squared distances (B, n), points (n, D), offset)`` block by block."""
        checks.tensor("x", x, f"(B, *{tuple(self.data.shape[1:])})")
        if x.shape[1:] != self.data.shape[1:]:
            raise ValueError(
                f"x: got shape {tuple(x.shape)}; allowed is (B, *{tuple(self.data.shape[1:])})"
            )
        query = x.reshape(len(x), -1).to(self.data.device, self._wide)
        norm = query.square().sum(1, keepdim=True)
        for start in range(0, len(self._flat), self.block):
            points = self._flat[start : start + self.block].to(self._wide)
            distances = torch.addmm(norm + points.square().sum(1), query, points.T, alpha=-2)
            visit(distances.clamp_min_(0), points, start)

    def _moments(self, x: Tensor, sigma: Tensor | float) -> tuple[Tensor, Tensor]:
        """Posterior mean (B, D) and log of the summed weights (B,), in one pass."""
        s = torch.as_tensor(expand(sigma, x), dtype=self._wide, device=self.data.device)
        if not (s > 0).all():
            raise ValueError(f"sigma: got {s.min().item():g}; allowed are numbers above 0")
        scale = -0.5 / s.reshape(-1, 1) ** 2
        state: dict[str, Tensor] = {}

        def visit(distances: Tensor, points: Tensor, start: int) -> None:
            logits = distances * scale
            top = logits.detach().amax(1, keepdim=True)  # it cancels, so it needs no gradient
            if state:
                top = torch.maximum(top, state["top"])
                fade = (state["top"] - top).exp()
                state["mass"] *= fade
                state["sum"] *= fade
            else:
                state["mass"] = torch.zeros_like(top)
                state["sum"] = logits.new_zeros(len(x), points.shape[1])
            weights = logits.sub_(top).exp_()
            state["top"] = top
            state["mass"] += weights.sum(1, keepdim=True)
            state["sum"].addmm_(weights, points)

        self._stream(x, visit)
        log_mass = (state["mass"].log() + state["top"]).squeeze(1)
        return state["sum"] / state["mass"], log_mass

    def denoiser(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Posterior mean under the empirical distribution (eq-empirical-denoiser), (B, *shape).

        ``sigma`` must be above 0. As it falls to 0 the result falls onto ``project(x)``.
        """
        mean, _ = self._moments(x, sigma)
        return mean.to(x).reshape(x.shape)

    def log_prob(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Log density of ``x_sigma`` at ``x``, in nats, (B,); ``sigma`` must be above 0."""
        _, log_mass = self._moments(x, sigma)
        s = torch.as_tensor(sigma, device=log_mass.device, dtype=log_mass.dtype)
        constant = self._flat.shape[1] * (s.log() + 0.5 * math.log(2 * math.pi))
        return (log_mass - math.log(len(self.data)) - constant).to(x)

    def score(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Gradient of ``log_prob`` with respect to ``x``, (B, *shape); ``sigma`` above 0."""
        return (self.denoiser(x, sigma) - x) / expand(sigma, x) ** 2

    def nearest(self, x: Tensor) -> Tensor:
        """Index of the data point nearest to each ``x`` (B, *shape), (B,) int64."""
        best: dict[str, Tensor] = {}

        def visit(distances: Tensor, _points: Tensor, start: int) -> None:
            value, index = distances.min(1)
            index = index + start
            if best:
                closer = value < best["value"]
                index = torch.where(closer, index, best["index"])
                value = torch.where(closer, value, best["value"])
            best["value"], best["index"] = value, index

        self._stream(x, visit)
        return best["index"].to(x.device)

    def project(self, x: Tensor) -> Tensor:
        """Nearest data point to each ``x``, (B, *shape)."""
        return self.data[self.nearest(x).to(self.data.device)].to(x)

    def distance(self, x: Tensor) -> Tensor:
        """Euclidean distance of each ``x`` to the data set, (B,)."""
        return (x - self.project(x)).flatten(1).norm(dim=1)
