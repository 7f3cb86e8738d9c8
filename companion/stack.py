"""Many small networks of one architecture, evaluated and trained as one."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from companion import checks
from companion.identity import OWN_TO_MODULES, PLAIN
from companion.networks import Linear
from companion.noise import expand

__all__ = ["Stack"]

NO_SETTINGS = OWN_TO_MODULES | {"learns"}
"""What is no setting of a module: what torch keeps in each, and ``fit``'s note of what learns."""


class Stack(nn.Module):
    """R denoisers of one architecture as one: parameters stacked, all evaluated in one call.

    It is called as a denoiser is: the leading dimension of ``x`` is R equal parts, one for each
    run. ``stack[r]`` is a copy of run ``r`` alone, which can be trained on (what was frozen in a
    stack that learns stays frozen), and ``stack.part(start, stop)`` a view of some.
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
        denoisers = checks.listed("denoisers", denoisers, "one or more modules")
        if not denoisers:
            raise ValueError("denoisers: got none; allowed are one or more modules")
        for one in denoisers:
            checks.instance("denoisers", one, nn.Module, "a sequence of modules")
        first = denoisers[0]
        if any(type(d) is not type(first) or _form(d) != _form(first) for d in denoisers):
            raise ValueError(
                "denoisers: got modules of several forms; allowed are those of one architecture, "
                "with the same settings (such as sigma_data) and the same layers frozen"
            )
        names = [name for name, _ in first.named_parameters()]
        if len(names) < len(list(first.named_parameters(remove_duplicate=False))):
            raise ValueError("denoisers: got tied parameters; allowed are parameters of one name")
        buffers = [[*d.buffers()] for d in denoisers]
        if not all(torch.equal(a, b) for own in buffers for a, b in zip(own, buffers[0])):
            raise ValueError("denoisers: got different buffers; allowed are equal ones")
        self.runs = len(denoisers)
        self.module = copy.deepcopy(first)
        for name in names:
            each = [d.get_parameter(name) for d in denoisers]
            stacked = torch.stack([p.detach() for p in each])
            _set(self.module, name, nn.Parameter(stacked, requires_grad=each[0].requires_grad))
        layers = [m for m in self.module.modules() if m._parameters]
        self.native = all(isinstance(m, Linear) for m in layers)

    def forward(
        self, x: Tensor, sigma: Tensor | float, class_labels: Tensor | None = None
    ) -> Tensor:
        """Estimate the clean data behind ``x`` (R * B, *shape), the parts by their own runs.

        ``class_labels`` (R * B,) go to networks with classes.
        """
        checks.tensor("x", x)
        if class_labels is not None and checks.labels("class_labels", class_labels).shape != (
            len(x),
        ):
            raise ValueError(
                f"class_labels: got {len(class_labels)} for {len(x)} samples; allowed is one each"
            )
        more = {} if class_labels is None else {"class_labels": class_labels}
        if self.native and len(x) % self.runs == 0:
            return self.module(x, sigma, **more)
        return self._call(dict(self.module.named_parameters()), self.runs, x, sigma, more)

    def _call(
        self,
        parameters: dict[str, Tensor],
        runs: int,
        x: Tensor,
        sigma: Tensor | float,
        more: dict[str, Tensor],
    ) -> Tensor:
        if len(x) % runs:
            raise ValueError(
                f"x: got a leading dimension of {len(x)}; allowed are multiples of {runs} runs"
            )
        if self.native:
            return functional_call(self.module, parameters, (x, sigma), more)
        expand(sigma, x)  # says what is wrong with the shape of sigma, if anything
        each = isinstance(sigma, Tensor) and sigma.ndim > 0
        parts = sigma.view(runs, -1) if each else sigma  # type: ignore[union-attr]
        call = vmap(
            lambda p, x, s, more: functional_call(self.module, p, (x, s), more),
            in_dims=(0, 0, 0 if each else None, 0),
            randomness="different",
        )
        more = {name: value.view(runs, -1) for name, value in more.items()}
        return call(parameters, x.view(runs, -1, *x.shape[1:]), parts, more).view_as(x)

    def part(self, start: int, stop: int) -> _Part:
        """Runs ``start`` to ``stop - 1`` as one denoiser that shares these parameters."""
        start = checks.whole("start", start, 0, self.runs - 1)
        stop = checks.whole("stop", stop, start + 1, self.runs)
        named = self.module.named_parameters()
        return _Part(self, {name: value[start:stop] for name, value in named}, stop - start)

    def split(self, sizes: Sequence[int]) -> list[_Part]:
        """All runs in consecutive parts; their gradients come back in one pass over the stack."""
        sizes = checks.shape("sizes", sizes)
        if sum(sizes) != self.runs:
            raise ValueError(
                f"sizes: got {sizes}; allowed are numbers that sum to {self.runs}, that of the runs"
            )
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
        frozen = not any(p.requires_grad for p in self.module.parameters())
        noted = getattr(self, "learns", None)  # by ``fit``, which freezes all
        for name, value in self.module.named_parameters():
            learns = frozen or value.requires_grad
            if noted is not None and frozen:
                learns = f"module.{name}" in noted
            _set(one, name, nn.Parameter(value[run].detach().clone(), requires_grad=learns))
        return one


class _Part:
    """Some runs of a ``Stack``, called as a denoiser."""

    def __init__(self, stack: Stack, parameters: dict[str, Tensor], runs: int):
        self.stack, self.parameters, self.runs = stack, parameters, runs

    def __call__(self, x: Tensor, sigma: Tensor | float, **more: Tensor) -> Tensor:
        return self.stack._call(self.parameters, self.runs, x, sigma, more)


def _form(module: nn.Module) -> dict[str, tuple]:
    """Parameters and buffers by shape and type, what is frozen, and the settings of each layer."""
    form: dict[str, tuple] = {k: (tuple(v.shape), v.dtype) for k, v in module.state_dict().items()}
    form |= {f"{k} learns": (p.requires_grad,) for k, p in module.named_parameters()}
    return form | {f"{k} is": (type(m), _settings(m)) for k, m in module.named_modules()}


def _settings(module: nn.Module) -> str:
    """Numbers, texts and the like that a module holds beside parameters, buffers and modules."""
    held = {k: v for k, v in vars(module).items() if k not in NO_SETTINGS}
    return repr({k: v for k, v in held.items() if isinstance(v, (*PLAIN, tuple, Mapping))})


def _set(module: nn.Module, name: str, value: nn.Parameter) -> None:
    path, _, leaf = name.rpartition(".")
    setattr(module.get_submodule(path), leaf, value)
