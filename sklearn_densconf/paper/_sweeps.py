"""Distortions at several severities, those of the paper."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sklearn_densconf.distortions import gaussian_blur, gaussian_noise, jpeg


@dataclass(frozen=True)
class Sweep:
    """A distortion at several severities.

    Attributes
    ----------
    distort : callable
        From pixels (n, c, height, width) and a severity to distorted pixels.
    severities : tuple of float
        The mildest first.
    label : str
        What the severity is, with its unit.
    symbol : str
        What is written before a severity.
    seeded : bool
        Whether it takes a ``random_state``.
    """

    distort: Callable[..., np.ndarray]
    severities: tuple[float, ...]
    label: str
    symbol: str = "σ"
    seeded: bool = False

    def apply(self, pixels: np.ndarray, severity: float, seed: int) -> np.ndarray:
        """Distort pictures (n, c, height, width)."""
        options = {"random_state": seed} if self.seeded else {}
        return self.distort(pixels, severity, channel_axis=1, **options)


def _tenths(*values: int) -> tuple[float, ...]:
    return tuple(value / 10 for value in values)


_SMALL = {
    "noise": Sweep(gaussian_noise, _tenths(*range(11)), "Noise σ (pixels 0–1)", seeded=True),
    "blur": Sweep(gaussian_blur, _tenths(*range(0, 21, 2)), "Blur σ (pixels)"),
}
SWEEPS = {
    "digits": _SMALL,
    "mnist": _SMALL,
    "imagenet": {
        "noise": Sweep(
            gaussian_noise, (0, 10, 20, 30, 40, 60, 80, 100), "Noise σ (of 255)", seeded=True
        ),
        "blur": Sweep(gaussian_blur, (0, 2, 4, 8, 12, 18, 24, 36), "Blur σ (pixels of 224)"),
        "JPEG": Sweep(jpeg, (100, 80, 60, 40, 20, 10, 5, 1), "JPEG quality", "quality"),
    },
}


def every_other(severities: Sequence[float], most: int = 6) -> list[float]:
    """Give at most ``most`` of the severities, the first and the last among them."""
    chosen = np.linspace(0, len(severities) - 1, min(most, len(severities))).round()
    return [severities[int(i)] for i in chosen]
