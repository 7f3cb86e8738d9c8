"""Results: what an experiment measured, as a tidy table and a few arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

__all__ = ["Results", "tidy"]


def tidy(values: Any, dims: Mapping[str, Any], **constants: Any) -> pd.DataFrame:
    """Turn an array with named dimensions into a tidy table: a row for each of its values.

    Parameters
    ----------
    values : tensor or array, one dimension for each entry of ``dims``, in their order
    dims : dict, name of a column -> its values along that dimension (a sequence, dict or tensor)
    **constants : columns that are the same in each row

    Returns
    -------
    DataFrame with the columns of ``constants``, of ``dims``, and ``value``.

    Raises
    ------
    ValueError
        If the shape is not that of ``dims``.

    Examples
    --------
    >>> tidy([[1.0, 2.0]], {"condition": ["plain"], "seed": [0, 1]}, measure="error")
      measure condition  seed  value
    0   error     plain     0    1.0
    1   error     plain     1    2.0
    """
    array = np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values, float)
    shape = tuple(len(labels) for labels in dims.values())
    if array.shape != shape:
        raise ValueError(f"values: got shape {array.shape}; allowed is {shape}, of {list(dims)}")
    labels = [[_plain(label) for label in along] for along in dims.values()]
    index = pd.MultiIndex.from_product(labels, names=list(dims))
    table = pd.DataFrame({"value": array.reshape(-1)}, index=index).reset_index()
    for number, (name, value) in enumerate(constants.items()):
        table.insert(number, name, value)
    return table


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _array(name: str, value: Any) -> np.ndarray:
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    value = np.asarray(value)
    if value.dtype.kind not in "biufc":
        raise TypeError(f"arrays[{name!r}]: got an array of {value.dtype}; allowed are numbers")
    return value


@dataclass(frozen=True, eq=False)
class Results:
    """What an experiment measured.

    Parameters
    ----------
    table : DataFrame, or a sequence of them that are put below one another
        Tidy: a row for each single measurement, the number in the column ``value``, what it is and
        where it was taken in others (``measure``, ``condition``, ``level``, ``seed``).
    arrays : dict of str -> tensor or array
        What a figure or a later experiment needs: samples, weights. Kept as NumPy arrays.
    facts : dict
        Texts and numbers that belong to the whole, such as the description of a classifier.
    settings, profile, seed, experiment, provenance, stale, kept
        What was run, where it came from, what has changed since, and the file that it is kept in;
        filled in when it is run or loaded.
    """

    table: pd.DataFrame
    arrays: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    experiment: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    profile: str = ""
    seed: int = 0
    provenance: dict[str, Any] = field(default_factory=dict)
    stale: tuple[str, ...] = ()
    kept: str = ""

    def __post_init__(self):
        table = self.table
        if not isinstance(table, pd.DataFrame):
            parts = list(table)
            if not parts or not all(isinstance(part, pd.DataFrame) for part in parts):
                raise TypeError("table: allowed is a DataFrame or a sequence of one or more")
            table = pd.concat(parts, ignore_index=True)
        if len(table) and "value" not in table:
            raise ValueError(f"table: got the columns {list(table)}; one must be 'value'")
        object.__setattr__(self, "table", table.reset_index(drop=True))
        arrays = {str(name): _array(name, value) for name, value in self.arrays.items()}
        object.__setattr__(self, "arrays", arrays)

    def where(self, **conditions: Any) -> pd.DataFrame:
        """Return the rows of the table that meet all conditions.

        Parameters
        ----------
        **conditions : column = value, or a list of allowed values
            Numbers are compared to nine digits.

        Raises
        ------
        KeyError
            If there is no such column, or no such row; the message lists what there is.
        """
        rows = np.arange(len(self.table))  # narrowed down; the table is cut once, at the end
        for column, value in conditions.items():
            if column not in self.table:
                raise KeyError(f"no column {column!r}; there are {list(self.table)}")
            allowed = list(value) if isinstance(value, (list, tuple)) else [value]
            there = self.table[column].array[rows]
            chosen = np.logical_or.reduce([_equal(there, one) for one in allowed])
            if not chosen.any():
                listed = ", ".join(map(repr, pd.Series(there).drop_duplicates()[:20]))
                before = {k: v for k, v in conditions.items() if k != column}
                raise KeyError(f"no row with {column} = {value!r} and {before}; there are {listed}")
            rows = rows[chosen]
        return self.table.iloc[rows]

    def values(self, **conditions: Any) -> np.ndarray:
        """Return the values that meet all conditions, one for each seed, in the order of the seeds.

        Raises
        ------
        KeyError
            As ``where``; also if a seed is there twice, so that a condition is missing.
        """
        rows = self.where(**conditions).sort_values("seed")
        if rows["seed"].duplicated().any():
            free = [
                name
                for name in rows
                if name not in ("seed", "value") and rows[name].nunique(dropna=False) > 1
            ]
            raise KeyError(f"{conditions} leaves several values for a seed: say {free} too")
        return rows["value"].to_numpy()

    def value(self, **conditions: Any) -> float:
        """Return the only value that meets all conditions.

        Raises
        ------
        KeyError
            As ``where``; also if there are several.
        """
        rows = self.where(**conditions)
        if len(rows) != 1:
            raise KeyError(f"{conditions} leaves {len(rows)} values; allowed is one")
        return float(rows["value"].iloc[0])

    def grid(self, *dims: str, **conditions: Any) -> np.ndarray:
        """Return the values that meet all conditions as an array with the named dimensions.

        Labels along a dimension are in the order in which the table has them (``labels`` lists
        them). A combination that is missing is NaN.

        Raises
        ------
        KeyError
            As ``where``; also if there are several values at one place.
        """
        rows = self.where(**conditions)
        if rows.duplicated(list(dims)).any():
            raise KeyError(f"{conditions} leaves several values at one place of {dims}")
        frame = rows.set_index(list(dims))["value"]
        if len(dims) == 1:
            return frame.to_numpy()
        labels = [list(rows[d].drop_duplicates()) for d in dims]
        full = pd.MultiIndex.from_product(labels, names=list(dims))
        return frame.reindex(full).to_numpy().reshape([len(part) for part in labels])

    def labels(self, dim: str, **conditions: Any) -> list[Any]:
        """Return the different entries of a column among the rows that meet all conditions."""
        return list(self.where(**conditions)[dim].drop_duplicates())

    def tensor(self, name: str) -> Tensor:
        """Return an array as a tensor of its own."""
        if name not in self.arrays:
            raise KeyError(f"no array {name!r}; there are {list(self.arrays)}")
        return torch.from_numpy(self.arrays[name].copy())

    def summary(self) -> pd.DataFrame:
        """Mean over seeds with its 95 % interval, for each combination of the other columns."""
        from companion.statistics import mean_interval

        keys = [name for name in self.table if name not in ("seed", "value")]
        if not keys or "seed" not in self.table:
            return self.table
        lines = []
        for key, group in self.table.groupby(keys, sort=False, dropna=False):
            values = group["value"].to_numpy(dtype=float)
            line = dict(zip(keys, key)) | {"mean": values.mean(), "low": np.nan, "high": np.nan}
            if len(values) > 1 and np.isfinite(values).all():
                interval = mean_interval(values)
                line |= {"low": interval.low, "high": interval.high}
            lines.append(line | {"seeds": len(values)})
        return pd.DataFrame(lines)

    def __str__(self) -> str:
        with pd.option_context("display.width", 100, "display.max_rows", 60):
            return f"{self.experiment}: {self.line}\n{self.summary().to_string(index=False)}"

    def __repr__(self) -> str:
        return f"Results({self.experiment or '?'}: {len(self.table)} rows, {list(self.arrays)})"

    @property
    def line(self) -> str:
        """Where it came from, in one line of text."""
        p = self.provenance
        commit = (p.get("commit") or "no commit")[:12] + ("+changes" if p.get("changed") else "")
        facts = [
            f"Recorded on {p.get('device', 'an unknown device')}",
            f"on {str(p.get('date', 'an unknown date'))[:10]}",
            f"commit {commit}" if p.get("commit") else commit,
        ]
        if p.get("seconds") is not None:
            facts.append(f"in {p['seconds']:,.0f} s")
        if p.get("peak_memory") is not None:
            facts.append(f"peak memory {p['peak_memory'] / 2**30:.2g} GiB")
        if before := p.get("earlier"):
            facts[-1] += (
                f". Its first {before['seeds']} seeds are of {str(before['date'])[:10]}, "
                f"commit {(before['commit'] or 'unknown')[:12]}"
            )
        return ", ".join(facts) + "".join(f". Warning: {reason}" for reason in self.stale) + "."


def _equal(column: Any, value: Any) -> np.ndarray:
    """Where the array of a column, as pandas has it, is a value."""
    if value is None:
        return np.asarray(pd.isna(column))
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if is_number and pd.api.types.is_numeric_dtype(column):
        return np.isclose(np.asarray(column, dtype=float), value, rtol=1e-9, atol=0.0)
    return np.asarray(column == value, dtype=bool)
