"""What a denoiser is, how it is read as noise or as score, and how networks become denoisers."""

from companion.denoisers.asking import Denoiser, denoise, epsilon, score
from companion.denoisers.conventions import (
    from_flow_matching,
    from_log_snr,
    from_variance_preserving,
)
from companion.denoisers.foellmer import foellmer_drift, foellmer_time, from_foellmer_drift
from companion.denoisers.networks import DiffusersDenoiser, Preconditioned, from_diffusers
from companion.denoisers.wrappers import (
    Clipped,
    Counted,
    Guided,
    Inpainted,
    Noised,
    conditional,
)

__all__ = [
    "Clipped",
    "Counted",
    "Denoiser",
    "DiffusersDenoiser",
    "Guided",
    "Inpainted",
    "Noised",
    "Preconditioned",
    "conditional",
    "denoise",
    "epsilon",
    "foellmer_drift",
    "foellmer_time",
    "from_diffusers",
    "from_flow_matching",
    "from_foellmer_drift",
    "from_log_snr",
    "from_variance_preserving",
    "score",
]
