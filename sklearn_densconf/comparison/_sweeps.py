"""How pictures are distorted here, whatever their size: six ways, six severities each."""

from dataclasses import replace

import numpy as np

from sklearn_densconf.distortions import thumbnail
from sklearn_densconf.evaluation._sweeps import RELATIVE_SWEEPS, Sweep, every_other


def _thumbnail(pixels: np.ndarray, severity: float, *, channel_axis: int) -> np.ndarray:
    size = max(1, round(severity * max(pixels.shape[2:])))
    return thumbnail(pixels, size, channel_axis=channel_axis)


def expose(pixels: np.ndarray, factor: float, *, channel_axis: int) -> np.ndarray:  # noqa: ARG001
    """Multiply the light: pixels times ``factor``, clipped to their range, as a camera would."""
    if pixels.dtype == np.uint8:
        return np.rint(pixels * np.float32(factor)).clip(0, 255).astype(np.uint8)
    return (pixels * pixels.dtype.type(factor)).clip(0, 1)


SWEEPS = RELATIVE_SWEEPS | {
    "thumbnails": Sweep(
        _thumbnail,
        (1, 0.75, 0.5, 0.35, 0.25, 0.15),
        "Thumbnail's size (of the longer side)",
        "size",
    ),
    "brighter": Sweep(expose, (1, 1.5, 2, 4, 8, 16), "Brighter (times)", "×"),
    "darker": Sweep(expose, (1, 0.5, 0.25, 0.1, 0.05, 0.02), "Darker (light left)", "×"),
}


def sweeps_of(*, quick: bool) -> dict[str, Sweep]:
    """Return the sweeps; the quick ones have three severities each."""
    most = 3 if quick else 6
    return {
        name: replace(sweep, severities=tuple(every_other(sweep.severities, most)))
        for name, sweep in SWEEPS.items()
    }
