"""The arms of the trial: each is a kind of extra noise and its strength."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from companion import noise, objectives

__all__ = [
    "B_ARMS",
    "C_ARMS",
    "EXACT",
    "EXTRA",
    "FREE",
    "NONE",
    "ONE_LEVEL",
    "SMALL",
    "STRONG",
    "TRAINED",
    "UNDONE",
    "Arm",
]

SMALL = 0.3
"""The one small level of a network without A."""

TRAINED, FREE, UNDONE, EXACT = "trained", "free", "undone", "exact"
"""How a denoiser came by what B does: trained with it; the plain network, relabelled as B would;
trained, and relabelled back; the exact denoiser, relabelled."""


@dataclass(frozen=True)
class Arm:
    """One way to train a denoiser.

    Parameters
    ----------
    kind : {"none", "A off", "B x_0", "B eps", "C"}
        Nothing; one small level alone; noise on the input with the target x_0 or eps; noise on the
        data.
    strength : float
        gamma of B, or s of C in units of the data (default 0).
    """

    kind: str
    strength: float = 0.0

    def __str__(self) -> str:
        name = {"B x_0": "B (x₀)", "B eps": "B (ε)"}.get(self.kind, self.kind)
        return f"{name}, {self.size}" if self.strength else name

    @property
    def size(self) -> str:
        """The strength as text; nothing without one."""
        sign = "γ" if self.kind.startswith("B") else "s"
        return f"{sign} = {self.strength:g}" if self.strength else ""

    @property
    def where(self) -> dict[str, Any]:
        """Columns of a table of results."""
        return {"kind": self.kind, "strength": self.strength}

    @property
    def target(self) -> str:
        """What a network with B is asked for; "x_0" for all others."""
        return self.kind.split()[1] if self.kind.startswith("B") else "x_0"

    def objective(self, levels: Any, sigma_data: float, weight: str = "epsilon") -> Any:
        """Return what is minimised.

        Parameters
        ----------
        levels : distribution of noise levels; without A it is the one level ``SMALL``
        sigma_data : float
        weight : str
            Of the levels (default that of DDPM's loss).
        """
        if self.kind == "A off":
            levels = noise.Discrete((SMALL,))
        if self.kind.startswith("B"):
            return objectives.InputPerturbation(
                self.strength, self.target, levels, weight, sigma_data
            )
        plain = objectives.DenoisingScoreMatching(levels, weight, sigma_data)
        return objectives.NoisyData(self.strength, plain) if self.kind == "C" else plain

    def relabelled(self, denoiser: Any, *, inverse: bool = False) -> Any:
        """Return what B makes of a denoiser, without training; ``inverse`` undoes it."""
        return objectives.relabelled(denoiser, self.strength, self.target, inverse=inverse)


NONE, ONE_LEVEL = Arm("none"), Arm("A off")
B_ARMS = tuple(Arm(f"B {target}", gamma) for target in ("x_0", "eps") for gamma in (0.1, 0.3))
C_ARMS = tuple(Arm("C", s) for s in (0.1, 0.3))
EXTRA = (*B_ARMS, *C_ARMS)
STRONG = tuple(arm for arm in B_ARMS if arm.strength == 0.3)
"""The stronger arms of B, whose free rivals are sampled."""
