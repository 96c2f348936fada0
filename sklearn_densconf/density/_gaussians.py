"""Gaussians of many classes, ready for evaluation by matrix products. A leaf of this package.

For a diagonal covariance, ``Σ_j (x_j - μ_kj)² / σ²_kj = x² @ P.T - 2 x @ (P μ).T + Σ_j P_kj μ_kj²``
with P = 1 / σ²: two products of matrices and no array of shape (n, k, d). Centring x and μ at
the grand mean first keeps the differences of large numbers accurate, unless a class lies very many
standard deviations from there: `_head` then measures from its own mean.
"""

from dataclasses import dataclass

from sklearn_densconf._array import Array

# The background's standard deviation is twice that of the broadest class: broader in every
# direction, so that it outweighs every class far away, and no broader, so that it is felt early.
BREADTH = 4.0
Terms = tuple[Array, Array, Array, Array, Array, Array]  # as in Gaussians, quadratic to steepest


@dataclass(frozen=True)
class Gaussians:
    """Gaussians of k classes in d dimensions, ready for evaluation.

    The squared distance is ``constant`` plus what the covariance type's ``add_distance`` makes of
    ``linear`` and of ``quadratic``: precisions, or, for matrices, inverse Cholesky factors.
    ``mean`` is (k, d), and ``from_center`` (k,) the squared distance of each from ``center``, which
    bounds what cancels; ``furthest`` is the largest of them. ``log_determinant`` (k,) is log |Σ_k|.
    ``limit`` (d,) bounds |x - center| so that the squares of far points stay finite; ``nearest`` is
    the smallest of it. Those two numbers tell of ordinary samples at once that they are.
    """

    covariance_type: str
    center: Array
    mean: Array
    quadratic: Array
    linear: Array
    constant: Array
    from_center: Array
    log_determinant: Array
    limit: Array
    furthest: float
    nearest: float


def add_product(out: Array, left: Array, right: Array, factor: float) -> None:
    """Add factor * left @ right to ``out``, in one pass where the library can.

    Not by scipy's dgemm, which can: scipy's BLAS has threads of its own, which wait milliseconds
    for numpy's.
    """
    if hasattr(out, "addmm_"):
        out.addmm_(left, right, alpha=factor)
    else:
        product = left @ right
        product *= factor
        out += product
