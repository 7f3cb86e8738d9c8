"""How a chapter begins: its profile, chosen by the machine in Colab, and its session."""

from __future__ import annotations

import os
import sys

import torch

from companion import checks
from companion.experiments.experiment import PROFILES
from companion.experiments.session import Session

__all__ = ["choose", "start"]


def start(profile: str = "cpu", seed: int = 0) -> Session:
    """Start a chapter: choose the profile by the machine in Colab, and set the house style.

    Parameters
    ----------
    profile, seed : as of ``Session``

    Returns
    -------
    Session
    """
    from companion import plotting

    plotting.use_style()
    return Session(choose(profile), seed)


def choose(profile: str) -> str:
    """Check the profile of a chapter, and in Colab choose it by the machine.

    Anywhere but in a live Colab notebook the profile is what it was. There the default, ``"cpu"``,
    becomes what the environment variable ``COMPANION_PROFILE`` says, and without that ``"gpu"`` on
    a runtime with a GPU; a line says so. Any other profile stays, and so does one that papermill
    gives: it starts a kernel of its own, which is no Colab notebook.

    Raises
    ------
    ValueError
        If ``profile``, or ``COMPANION_PROFILE`` in Colab, is none of the profiles.
    """
    checks.choice("profile", profile, PROFILES)
    if profile != "cpu" or "google.colab" not in sys.modules:
        return profile
    machine = "no GPU"
    if torch.cuda.is_available():
        facts = torch.cuda.get_device_properties(0)
        machine = f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB"
        profile = "gpu"
    said = os.environ.get("COMPANION_PROFILE")
    if said:
        checks.choice("COMPANION_PROFILE", said, PROFILES)
        print(f"Colab, {machine}: profile {said!r}, as COMPANION_PROFILE says.")
        return said
    advice = (
        "For the short run, without image experiments: %env COMPANION_PROFILE=cpu in a cell above."
        if profile == "gpu"
        else "For the image experiments choose a GPU: Runtime > Change runtime type."
    )
    print(f"Colab, {machine}: profile {profile!r}. {advice}")
    return profile
