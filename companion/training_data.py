"""What training draws its batches from: samples of several kinds, and their labels."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, IterableDataset

from companion import checks
from companion.denoisers.wrappers import known_classes

__all__ = ["checked_labels", "checked_samples", "scaled"]

CHUNK = 50_000_000
"""Numbers that are looked at together when data are checked."""


def checked_samples(given: Sequence[Any], models: Sequence[nn.Module]) -> list[Tensor]:
    """Check each set of data once, and make tensors of what is none.

    Parameters
    ----------
    given : sequence of R tensors, arrays or data sets, of which several may be the same
    models : sequence of the denoisers to be trained

    Raises
    ------
    ValueError
        If one is of another kind, type or shape, or has a number that is not finite.
    """
    kinds = {p.dtype for p in models[0].parameters()} if models else set()
    checked: dict[int, Tensor] = {}
    for x in given:
        if id(x) not in checked:
            checked[id(x)] = _checked(x, kinds)
    datasets = [checked[id(x)] for x in given]
    for what, seen in (
        ("shapes", sorted({str(tuple(d.shape[1:])) for d in datasets})),
        ("types", sorted({str(d.dtype) for d in datasets})),
    ):
        if len(seen) > 1:
            raise ValueError(
                f"data: got samples of {what} {' and '.join(seen)}; allowed is one for all runs"
            )
    return datasets


def _checked(given: Any, kinds: set[torch.dtype]) -> Tensor:
    data = _tensor(given)
    whole = isinstance(data, Tensor) and data.dtype == torch.uint8
    if not isinstance(data, Tensor) or not (whole or data.is_floating_point()):
        raise ValueError(
            f"data: got {checks.shown(data)}; allowed is a floating-point or uint8 tensor or array "
            "(N, *shape), or a Dataset of such samples; of other whole numbers take "
            "x.float() / 127.5 - 1"
        )
    if whole:
        if data.ndim < 2 or not len(data):
            raise ValueError(
                f"data: got {checks.shown(data)}; allowed is (N, *shape) with N of at least 1"
            )
        return data
    checks.batch("data", data, at_least=1)
    if kinds and data.dtype not in kinds:
        raise ValueError(
            f"data: got {data.dtype} for a denoiser of {', '.join(map(str, kinds))}; allowed is "
            "one type: use data.to(...) or denoiser.to(...)"
        )
    for part in data.split(max(1, CHUNK // max(1, data[0].numel()))):
        checks.finite("data", part)
    return data


def _tensor(given: Any) -> Any:
    """Make a tensor of an array or of a data set; a memory map stays on the disk."""
    if isinstance(given, np.ndarray) and (given.dtype.kind == "f" or given.dtype == np.uint8):
        with warnings.catch_warnings():  # nothing writes to a map that was opened to read
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            return torch.from_numpy(given)
    if not isinstance(given, Dataset):
        return given
    if isinstance(given, IterableDataset) or not hasattr(given, "__len__"):
        raise ValueError(
            f"data: got {checks.shown(given)}, whose samples have no number; allowed is a Dataset "
            "with a length, an array, or a memory map"
        )
    samples = []
    for i in range(len(given)):
        item = given[i]
        item = item[0] if isinstance(item, (tuple, list)) else item
        if not isinstance(item, (Tensor, np.ndarray)):
            raise ValueError(
                f"data: got {checks.shown(item)} as sample {i} of the Dataset; allowed are tensors "
                "and arrays (torchvision's transforms make them of pictures)"
            )
        samples.append(torch.as_tensor(item))
    shapes = {(tuple(s.shape), str(s.dtype)) for s in samples}
    if len(shapes) != 1:
        said = " and ".join(map(str, sorted(shapes)[:2])) or "none"
        raise ValueError(f"data: got samples of {said}; allowed is one shape and type")
    return torch.stack(samples)


def checked_labels(
    given: Sequence[Any], datasets: Sequence[Tensor], models: Sequence[nn.Module]
) -> list[Tensor] | None:
    """Check the labels of each run: (N,) whole numbers as the network knows them; None for none.

    Raises
    ------
    TypeError, ValueError
        If labels are of another type, number or range, or only some runs have them.
    """
    if all(one is None for one in given):
        return None
    found = []
    for labels, data in zip(given, datasets):
        if isinstance(labels, np.ndarray) and labels.dtype.kind in "iu":
            labels = torch.from_numpy(labels.astype(np.int64))
        checks.labels("labels", labels, known_classes(models[0]), values=True)
        if len(labels) != len(data):
            raise ValueError(
                f"labels: got {len(labels)} for {len(data)} samples; allowed is one each"
            )
        found.append(labels.long())
    return found


def scaled(batch: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a batch as the network takes it: uint8 images from -1 to 1, all else as it is."""
    return batch.to(dtype).div_(127.5).sub_(1) if batch.dtype == torch.uint8 else batch
