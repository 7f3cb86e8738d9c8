"""Experiments of chapter 3: the denoiser as a noise classifier (Wu et al. 2024)."""

from companion.experiments.noise_classifier import figures, image_figures, tables
from companion.experiments.noise_classifier.ablations import (
    DRAWS,
    OFFICIAL_DRAWS,
    AblatedContrast,
    official_loss,
)
from companion.experiments.noise_classifier.classifiers import LevelReading, TrainedClassifiers
from companion.experiments.noise_classifier.comparisons import within
from companion.experiments.noise_classifier.continuations import (
    BATCH,
    BEFORE,
    CONTRASTIVE,
    CONTROLS,
    OFFICIAL,
    SAME_COST,
    SAME_STEPS,
    cost_factor,
    with_controls,
)
from companion.experiments.noise_classifier.digits import (
    DigitNetworks,
    DigitSamples,
    DigitScan,
    DigitTest,
)
from companion.experiments.noise_classifier.image_gradients import ImageGradients
from companion.experiments.noise_classifier.image_picard import ImagePicard
from companion.experiments.noise_classifier.image_search import ImageSearch
from companion.experiments.noise_classifier.image_verdict import contested
from companion.experiments.noise_classifier.images import ImageContrast
from companion.experiments.noise_classifier.loss import (
    OFFICIAL_SCAN,
    OURS,
    CallTime,
    ScaleScan,
    Signal,
)
from companion.experiments.noise_classifier.modes import ModeMap
from companion.experiments.noise_classifier.picard import ExactPicard
from companion.experiments.noise_classifier.points import PointNetworks
from companion.experiments.noise_classifier.ratio import Accuracy, Conventions, SecretClassifier
from companion.experiments.noise_classifier.regions import LaterErrors, RegionErrors, Visits
from companion.experiments.noise_classifier.samples import ParallelSamples, SequentialSamples
from companion.experiments.noise_classifier.second_hand import NATS
from companion.experiments.noise_classifier.summary import in_short
from companion.experiments.noise_classifier.verdicts import verdicts

__all__ = [
    "BATCH",
    "BEFORE",
    "CONTRASTIVE",
    "CONTROLS",
    "DRAWS",
    "NATS",
    "OFFICIAL",
    "OFFICIAL_DRAWS",
    "OFFICIAL_SCAN",
    "OURS",
    "SAME_COST",
    "SAME_STEPS",
    "AblatedContrast",
    "Accuracy",
    "CallTime",
    "Conventions",
    "DigitNetworks",
    "DigitSamples",
    "DigitScan",
    "DigitTest",
    "ExactPicard",
    "ImageContrast",
    "ImageGradients",
    "ImagePicard",
    "ImageSearch",
    "LaterErrors",
    "LevelReading",
    "ModeMap",
    "ParallelSamples",
    "PointNetworks",
    "RegionErrors",
    "ScaleScan",
    "SecretClassifier",
    "SequentialSamples",
    "Signal",
    "TrainedClassifiers",
    "Visits",
    "contested",
    "cost_factor",
    "figures",
    "image_figures",
    "in_short",
    "official_loss",
    "tables",
    "verdicts",
    "with_controls",
    "within",
]
