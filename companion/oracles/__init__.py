"""Exact answers in closed form: denoisers, densities, projections of mixtures, sets, spheres."""

from companion.oracles.empirical import Empirical
from companion.oracles.mixtures import GaussianMixture, Posterior
from companion.oracles.spheres import Sphere, VonMises
from companion.oracles.spheres import bessel_ratio as bessel_ratio

__all__ = ["Empirical", "GaussianMixture", "Posterior", "Sphere", "VonMises"]
