"""Many small networks of one architecture, evaluated and trained as one."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from companion.networks import Linear
from companion.noise import expand

__all__ = ["Stack"]


class Stack(nn.Module):
    """R denoisers of one architecture as one: parameters stacked, all evaluated in one call.

    It is called as a denoiser is: the leading dimension of ``x`` is R equal parts, one for each
    run. ``stack[r]`` is run ``r`` alone, and ``stack.part(start, stop)`` a view of some.
    Networks made of ``networks.Linear`` run natively, all others through ``torch.func.vmap``.

    Parameters
    ----------
    denoisers : sequence of nn.Module
        Alike in everything but the values of their parameters, which are copied.

    Raises
    ------
    ValueError
        If there are none, or if they are not of one architecture.
    """

    def __init__(self, denoisers: Sequence[nn.Module]):
        super().__init__()
        if not denoisers:
            raise ValueError("denoisers: got none; allowed are one or more modules")
        first = _architecture(denoisers[0])
        for number, denoiser in enumerate(denoisers):
            if _architecture(denoiser) != first:
                raise ValueError(
                    f"denoisers: number {number} ({type(denoiser).__name__}) differs from the "
                    "first in its type or in the shapes of its parameters; allowed are modules of "
                    "one architecture"
                )
        self.runs = len(denoisers)
        self.module = copy.deepcopy(denoisers[0])
        for name, _ in list(self.module.named_parameters()):
            stacked = torch.stack([d.get_parameter(name).detach() for d in denoisers])
            _set(self.module, name, nn.Parameter(stacked))
        layers = [m for m in self.module.modules() if m._parameters]
        self.native = all(isinstance(m, Linear) for m in layers)

    def forward(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Estimate the clean data behind ``x`` (R * B, *shape), the parts by their own runs."""
        if self.native and len(x) % self.runs == 0:
            return self.module(x, sigma)
        return self._call(dict(self.module.named_parameters()), self.runs, x, sigma)

    def _call(self, parameters: dict[str, Tensor], runs: int, x: Tensor, sigma: Tensor | float):
        if len(x) % runs:
            raise ValueError(
                f"x: got a leading dimension of {len(x)}; allowed are multiples of {runs} runs"
            )
        if self.native:
            return functional_call(self.module, parameters, (x, sigma))
        expand(sigma, x)  # says what is wrong with the shape of sigma, if anything
        each = isinstance(sigma, Tensor) and sigma.ndim > 0
        parts = sigma.view(runs, -1) if each else sigma  # type: ignore[union-attr]
        call = vmap(
            lambda p, x, s: functional_call(self.module, p, (x, s)),
            in_dims=(0, 0, 0 if each else None),
            randomness="different",
        )
        return call(parameters, x.view(runs, -1, *x.shape[1:]), parts).view_as(x)

    def part(self, start: int, stop: int) -> _Part:
        """Runs ``start`` to ``stop - 1`` as one denoiser that shares these parameters."""
        named = self.module.named_parameters()
        return _Part(self, {name: value[start:stop] for name, value in named}, stop - start)

    def split(self, sizes: Sequence[int]) -> list[_Part]:
        """All runs in consecutive parts; their gradients come back in one pass over the stack."""
        pieces = {name: value.split(sizes) for name, value in self.module.named_parameters()}
        return [
            _Part(self, {name: piece[i] for name, piece in pieces.items()}, size)
            for i, size in enumerate(sizes)
        ]

    def __len__(self) -> int:
        return self.runs

    def __getitem__(self, run: int) -> nn.Module:
        if not -self.runs <= run < self.runs:
            raise IndexError(f"run: got {run}; allowed are {-self.runs} to {self.runs - 1}")
        one = copy.deepcopy(self.module)
        for name, value in self.module.named_parameters():
            _set(one, name, nn.Parameter(value[run].detach().clone()))
        return one


class _Part:
    """Some runs of a ``Stack``, called as a denoiser."""

    def __init__(self, stack: Stack, parameters: dict[str, Tensor], runs: int):
        self.stack, self.parameters, self.runs = stack, parameters, runs

    def __call__(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        return self.stack._call(self.parameters, self.runs, x, sigma)


def _architecture(module: nn.Module) -> tuple:
    shapes = {name: value.shape for name, value in module.state_dict().items()}
    return type(module), shapes


def _set(module: nn.Module, name: str, value: nn.Parameter) -> None:
    path, _, leaf = name.rpartition(".")
    setattr(module.get_submodule(path), leaf, value)
