"""Distances between samples, coverage, memorisation, likelihood, and features for images.

Samples are (N, ...) and (M, ...) tensors of any device and shape, flattened to vectors. Results are
floats, or small named tuples of them. A number means little without its noise floor
(``noise_floor``) and, for features, without the classifier that made them
(``FeatureClassifier.describe``).
"""

from companion.metrics.coverage import (
    DensityCoverage,
    ModeCoverage,
    PrecisionRecall,
    copies,
    density_coverage,
    modes_covered,
    precision_recall,
)
from companion.metrics.distances import (
    NoiseFloor,
    frechet_distance,
    mmd,
    noise_floor,
    sliced_wasserstein,
    wasserstein,
)
from companion.metrics.features import (
    FeatureClassifier,
)
from companion.metrics.likelihood import (
    LogLikelihood,
    bits_per_dimension,
    dequantised,
    log_likelihood_ratio,
    nll,
)

__all__ = [
    "DensityCoverage",
    "FeatureClassifier",
    "LogLikelihood",
    "ModeCoverage",
    "NoiseFloor",
    "PrecisionRecall",
    "bits_per_dimension",
    "copies",
    "density_coverage",
    "dequantised",
    "frechet_distance",
    "log_likelihood_ratio",
    "mmd",
    "modes_covered",
    "nll",
    "noise_floor",
    "precision_recall",
    "sliced_wasserstein",
    "wasserstein",
]
