"""Restoring a folder of noisy images without any clean ones: ``companion denoise`` in Python.

>>> from companion import restoration                     # doctest: +SKIP
>>> noisy = restoration.folder("scans")                   # doctest: +SKIP
>>> noise = restoration.estimate(noisy)                   # doctest: +SKIP
>>> print(noise)                                          # doctest: +SKIP
>>> restorer = restoration.fit(noisy, noise, minutes=8)   # doctest: +SKIP
>>> clean = restoration.denoise(restorer, noisy, noise)   # doctest: +SKIP

Needs the extra ``images``: ``pip install ".[images]"`` in a clone of the repository.
"""

from companion.data.folders import Folder, Picture, folder
from companion.restoration.diagnosis import Noise, estimate
from companion.restoration.pipeline import Restored, Restorer, denoise, fit

__all__ = [
    "Folder",
    "Noise",
    "Picture",
    "Restored",
    "Restorer",
    "denoise",
    "estimate",
    "fit",
    "folder",
]
