"""Tables of chapter 9, each made from results."""

from __future__ import annotations

import pandas as pd

from companion import plotting
from companion.experiments.results import Results
from companion.experiments.your_images.race import NOISY, OURS

__all__ = ["each_picture", "whole_folder"]


def each_picture(race: Results, level: float):
    """PSNR of each method on each picture at one noise level, the best in bold."""
    rows = race.where(measure="psnr", level=level)
    frame = rows.pivot_table(index="picture", columns="method", values="value", sort=False)
    return _set(frame, f"PSNR in dB, noise {level:g} of 255; the best in bold")


def whole_folder(record: Results, title: str):
    """PSNR of each method on each picture of a long run, which has a title."""
    frame = record.table.pivot_table(index="picture", columns="method", values="value", sort=False)
    sigma = record.settings["sigma"]
    caption = f"{title}: PSNR in dB, noise {sigma:g} of 255; the best in bold"
    if len(frame) > 30:  # pieces of one photograph have no names worth a row
        frame, mean = frame.iloc[:0], frame.mean()
        frame.loc["mean"] = mean
        return _set(frame, caption, mean=False)
    return _set(frame, caption)


def _set(frame: pd.DataFrame, caption: str, mean: bool = True):
    order = [NOISY, OURS, *(c for c in frame.columns if c not in (NOISY, OURS))]
    frame = frame[order].rename_axis(index=None, columns=None)
    if mean:
        frame.loc["mean"] = frame.mean()
    best = frame.eq(frame.max(axis=1), axis=0).to_numpy()
    return plotting.table(frame.round(1).map("{:.1f}".format), caption=caption, bold=best)
