"""Gaussians of many classes as a torch module: squared distances by products of matrices.

The formulas are those of `sklearn_densconf.density`, whose arrays these buffers are. Two things
differ, for the sake of float32. What the distances of a sample to all classes share is kept apart,
so that what tells classes from one another is not drowned by it: of diagonal precisions P_k it is
the part min_k P_k, of one covariance for all classes the whole square. And the center c is two
numbers, c and what c lacks, so that a sample at an offset of 1e4 is centred without error.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from sklearn_densconf.density._covariance_types import ROOT_LARGEST
from sklearn_densconf.density._gaussians import Gaussians
from sklearn_densconf.density._range import FAR as FAR64
from sklearn_densconf.export._evaluated import as_buffer

Distances = tuple[torch.Tensor, torch.Tensor | float]

# In float32 a far point is moved to where its squared distance is below 1e34.
NEARER = 1e17 / ROOT_LARGEST
# So many columns of a whitening, a triangle, are one product: the rows below the last are 0.
STRIPE = 160
FAR = {torch.float64: FAR64, torch.float32: 1e18}  # deviations whose squares are numbers


class Distance(nn.Module):
    """Squared Mahalanobis distances to the means of all classes, in one block of features.

    Parameters
    ----------
    gaussians : Gaussians
        Of numpy arrays.
    dtype : torch.dtype
        float64, or float32. See Notes.
    largest : float, default=inf
        What no deviation from the center exceeds, if that is known.

    Notes
    -----
    In float32 each distance differs from that of exact arithmetic on the same features by at most
    3 (d + 8) u S, with u = 2⁻²⁴ and S the sum of the absolute values of its terms: for diagonals
    S_k = Σ_j (x²_j (P_kj - min_k P_kj) + 2 |x_j P_kj μ_kj| + P_kj μ²_kj), for one matrix
    S_k = 2 Σ_i (|L⁻¹| |x|)_i |L⁻¹ μ_k|_i + ‖L⁻¹ μ_k‖², for a matrix a class
    S_k = Σ_i ((|L_k⁻¹| |x|)_i + |L_k⁻¹ μ_k|_i)². Divided by 2 T s, with the temperature T and the
    scale s, this bounds the error of log p(z | k) + log π_k up to what all classes share.
    """

    center: torch.Tensor
    rest_of_center: torch.Tensor | None
    steepness: torch.Tensor
    far: torch.Tensor

    def __init__(
        self, gaussians: Gaussians, dtype: torch.dtype, largest: float = float("inf")
    ) -> None:
        super().__init__()
        self.covariance_type = gaussians.covariance_type
        far = FAR[dtype]
        limit = np.minimum(gaussians.limit * (NEARER if dtype == torch.float32 else 1), far)
        self._lies_within = bool(largest <= limit.min())
        center = as_buffer(gaussians.center, dtype)
        arrays: dict[str, Any] = {
            "far": far,
            "steepness": 1 / limit / far,
            **_PREPARE[self.covariance_type](gaussians),
        }
        rest = gaussians.center - center.double().numpy()
        self.register_buffer("center", center)
        self.register_buffer("rest_of_center", as_buffer(rest, dtype) if rest.any() else None)
        for name, array in arrays.items():
            self.register_buffer(name, as_buffer(array, dtype))

    def centred(self, X: torch.Tensor) -> torch.Tensor:
        """Return deviations from the center, (n, d)."""
        deviation = X - self.center
        return deviation if self.rest_of_center is None else deviation - self.rest_of_center

    def reach(self, deviation: torch.Tensor) -> torch.Tensor | None:
        """Compute how many times farther than may be squared each sample is, at least 1, (n, 1).

        None where that is 1 for all samples that can be.
        """
        if self._lies_within:
            return None
        parts = (deviation.abs() * self.steepness).amax(1, keepdim=True)  # no product overflows
        return torch.clamp(parts * self.far, min=1.0)

    def forward(self, deviation: torch.Tensor) -> Distances:
        """Return what the distances differ in, (n, k), and what they share, (n, 1) or 0.0."""
        return _DISTANCES[self.covariance_type](self, deviation)


def _diagonal(gaussians: Gaussians) -> dict[str, np.ndarray]:
    precision = gaussians.quadratic  # (d, k), (1, k) or (d, 1)
    least = precision.min(axis=1, keepdims=True)
    differs = gaussians.covariance_type != "tied_diag"
    return {
        "least": least,
        **({"more": precision - least} if differs else {}),
        "linear": gaussians.linear,
        "constant": gaussians.constant,
    }


def _matrix(gaussians: Gaussians) -> dict[str, np.ndarray]:
    triangle = gaussians.quadratic.T
    starts = range(0, len(triangle), STRIPE)
    return {
        **{f"stripe_{i}": triangle[: i + STRIPE, i : i + STRIPE] for i in starts},
        "linear": gaussians.linear,
        "constant": gaussians.constant,
    }


def _matrices(gaussians: Gaussians) -> dict[str, np.ndarray]:
    k, d = gaussians.linear.shape
    return {
        "whitening": gaussians.quadratic.reshape(k * d, d).T,  # all classes in one product
        "white_mean": gaussians.linear.reshape(1, k * d),
    }


def _of_diag(terms: Any, deviation: torch.Tensor) -> Distances:
    square = deviation * deviation
    differences = deviation @ terms.linear + square @ terms.more + terms.constant
    return differences, square @ terms.least


def _of_spherical(terms: Any, deviation: torch.Tensor) -> Distances:
    norm = (deviation * deviation).sum(1, keepdim=True)
    differences = deviation @ terms.linear + norm * terms.more + terms.constant
    return differences, norm * terms.least


def _of_tied_diag(terms: Any, deviation: torch.Tensor) -> Distances:
    differences = deviation @ terms.linear + terms.constant
    return differences, (deviation * deviation) @ terms.least


def _of_tied(terms: Any, deviation: torch.Tensor) -> Distances:
    starts = range(0, deviation.shape[1], STRIPE)
    stripes = [getattr(terms, f"stripe_{i}") for i in starts]
    white = torch.cat([deviation[:, : len(each)] @ each for each in stripes], 1)
    differences = white @ terms.linear + terms.constant
    return differences, (white * white).sum(1, keepdim=True)


def _of_full(terms: Any, deviation: torch.Tensor) -> Distances:
    white = deviation @ terms.whitening - terms.white_mean  # (n, k d)
    d = deviation.shape[1]
    return (white * white).reshape(-1, white.shape[1] // d, d).sum(2), 0.0


_PREPARE: dict[str, Callable[[Gaussians], dict[str, np.ndarray]]] = {
    "diag": _diagonal,
    "spherical": _diagonal,
    "tied_diag": _diagonal,
    "tied": _matrix,
    "full": _matrices,
}
_DISTANCES: dict[str, Callable[[Any, torch.Tensor], Distances]] = {
    "diag": _of_diag,
    "spherical": _of_spherical,
    "tied_diag": _of_tied_diag,
    "tied": _of_tied,
    "full": _of_full,
}
