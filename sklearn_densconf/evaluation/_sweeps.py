"""Distortions at several severities."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sklearn_densconf.distortions import gaussian_blur, gaussian_noise, jpeg
from sklearn_densconf.evaluation._pictures import Batch, distort_batch


@dataclass(frozen=True)
class Sweep:
    """A distortion at several severities."""

    distort: Callable[..., np.ndarray]  # of pixels (n, c, height, width) and a severity
    severities: tuple[float, ...]  # the mildest first, which is the smallest or the largest
    label: str  # what the severity is, with its unit
    symbol: str = "σ"  # what is written before a severity
    seeded: bool = False  # whether it takes a random_state

    def apply(self, batch: Batch, severity: float, seed: int) -> Any:
        """Distort pictures."""
        options = {"random_state": seed} if self.seeded else {}
        return distort_batch(
            lambda pixels: self.distort(pixels, severity, channel_axis=1, **options), batch
        )

    def with_severities(self, name: str, severities: Sequence[float], picture: Batch) -> "Sweep":
        """Return the sweep at other severities; each is tried on a picture first."""
        if len(set(severities)) < max(2, len(severities)):
            raise ValueError(f"{name} needs at least two severities, all different")
        downwards = self.severities[0] > self.severities[-1]
        ordered = sorted(severities, reverse=downwards)
        if list(severities) != ordered:
            raise ValueError(
                f"{name} must have the mildest first, got {list(severities)}: give {ordered}"
            )
        sweep = replace(self, severities=tuple(severities))
        for severity in severities:
            try:
                sweep.apply(picture, severity, 0)
            except ValueError as error:
                raise ValueError(f"{name} {severity:g}: {error}") from error
        return sweep


def every_other(severities: Sequence[float], most: int = 6) -> list[float]:
    """Return at most ``most`` of the severities, the first and the last among them."""
    chosen = np.linspace(0, len(severities) - 1, min(most, len(severities))).round()
    return [severities[int(i)] for i in chosen]


def _noise(pixels: np.ndarray, severity: float, **options: Any) -> np.ndarray:
    return gaussian_noise(pixels, severity * (255 if pixels.dtype == np.uint8 else 1), **options)


def _blur(pixels: np.ndarray, severity: float, **options: Any) -> np.ndarray:
    return gaussian_blur(pixels, severity * max(pixels.shape[2:]), **options)


RELATIVE_SWEEPS = {  # for pictures of any size and range
    "noise": Sweep(
        _noise, (0, 0.05, 0.1, 0.2, 0.3, 0.5), "Noise σ (of the range of pixels)", seeded=True
    ),
    "blur": Sweep(_blur, (0, 0.01, 0.02, 0.04, 0.06, 0.1), "Blur σ (of the longer side)"),
    "JPEG": Sweep(jpeg, (100, 50, 20, 10, 5, 1), "JPEG quality", "quality"),
}
