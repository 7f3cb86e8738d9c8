"""Profiles: how much of a chapter is run, chosen by the machine where nobody has chosen."""

from __future__ import annotations

import os
import sys

__all__ = ["PROFILES", "choose"]

PROFILES = ("smoke", "cpu", "long", "gpu")
"""Every cell at tiny sizes; what two cores run; the image experiments as well, on CPU or GPU."""


def choose(profile: str) -> str:
    """Check the profile of a chapter, and in Colab choose it by the machine.

    Anywhere but in a live Colab notebook the profile is what it was. There the default, ``"cpu"``,
    becomes what the environment variable ``COMPANION_PROFILE`` says, and without that ``"gpu"`` on
    a runtime with a GPU; a line says so. Any other profile stays, and so does one that papermill
    gives: it starts a kernel of its own, which is no Colab notebook.

    Parameters
    ----------
    profile : {"smoke", "cpu", "long", "gpu"}

    Returns
    -------
    str, the profile to run.

    Raises
    ------
    ValueError
        If ``profile``, or ``COMPANION_PROFILE`` in Colab, is none of these.
    """
    _check("profile", profile)
    if profile != "cpu" or "google.colab" not in sys.modules:
        return profile
    import torch

    machine = "no GPU"
    if torch.cuda.is_available():
        facts = torch.cuda.get_device_properties(0)
        machine = f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB"
        profile = "gpu"
    said = os.environ.get("COMPANION_PROFILE")
    if said:
        _check("COMPANION_PROFILE", said)
        print(f"Colab, {machine}: profile {said!r}, as COMPANION_PROFILE says.")
        return said
    advice = (
        "For the short run, without image experiments: %env COMPANION_PROFILE=cpu in a cell above."
        if profile == "gpu"
        else "For the image experiments choose a GPU: Runtime > Change runtime type."
    )
    print(f"Colab, {machine}: profile {profile!r}. {advice}")
    return profile


def _check(name: str, value: str) -> None:
    if value not in PROFILES:
        raise ValueError(f"{name}: got {value!r}; allowed are 'smoke', 'cpu', 'long' and 'gpu'")
