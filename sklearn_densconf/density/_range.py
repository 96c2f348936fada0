"""The range of data that can be evaluated: beyond it, squares would not be numbers of float64.

All that is computed of admitted data stays finite, and no square is lost to underflow. The bounds
leave room for one another: a squared distance of a mean is below 1e120 / 1e-100, the largest of a
sample below 1e290, and temperature and scale change that by 1e18.
"""

import numpy as np

from sklearn_densconf._array import Array, namespace
from sklearn_densconf._validation import check_finite
from sklearn_densconf.density._moments import Moments, total_variance

FAR = 1e150  # a deviation whose square is a float64
LARGEST_VARIANCE = 1e260  # FAR is 1e20 standard deviations then: beyond, only directions count
SMALLEST_VARIANCE = 1e-307  # its inverse is a float64, and so is it to the last digit
NARROWEST = 1e-120  # a variance of a class over that of all
COUNTS = 1e-50, 1e50  # sum of the weights of a class


def check_measured(moments: Moments, X: Array) -> None:
    """Check what was measured: a NaN or infinity of X, and a square that overflowed, show here."""
    xp = namespace(moments.scatter)
    if not bool(xp.isfinite(xp.sum(moments.scatter))):
        check_finite(X)
    check_moments(moments)


def check_moments(moments: Moments) -> None:
    """Check moments, of one part or of merged ones: means, variances and weights in range.

    Raises
    ------
    ValueError
        If squares overflow, or are about to, or a class has too large or too small a weight.
    """
    xp = namespace(moments.scatter)
    with np.errstate(over="ignore", invalid="ignore"):  # said here
        largest = float(xp.max(total_variance(moments)))
        finite = bool(xp.isfinite(xp.sum(moments.scatter)))
    if not (finite and largest <= LARGEST_VARIANCE):
        raise ValueError(
            "X has values whose squares overflow: scale the features down, so that the standard "
            f"deviation of none is above {LARGEST_VARIANCE**0.5:.0e}"
        )
    farthest = float(xp.max(xp.abs(moments.mean)))
    if farthest > FAR:
        raise ValueError(
            f"X has a class whose mean is {farthest:.3g} away from 0, but its square overflows "
            f"beyond {FAR:.0e}: scale the features down"
        )
    _check_counts(moments.count)


def check_spread(moments: Moments, X: Array) -> None:
    """Check that differences of samples have not been lost where they were squared."""
    xp = namespace(X)
    smallest = SMALLEST_VARIANCE / min(1.0, float(xp.max(moments.count)))
    if float(xp.max(total_variance(moments))) < smallest and bool(xp.any(X[:1, ...] != X)):
        raise ValueError(
            "X varies too little for squares in float64, by less than about "
            f"{smallest**0.5:.0e} in every feature: scale the features up"
        )


def check_variances(variances: Array, moments: Moments, *, per_class: bool) -> None:
    """Check that every variance, shrunk and smoothed, is one that can be divided by.

    Raises
    ------
    ValueError
        If one is 0, or too small: absolutely, or beside the variance of all classes together.
    """
    xp, count = namespace(variances), moments.count
    smallest = float(xp.min(variances))
    if not smallest > 0:
        raise ValueError(
            "a variance is 0 (a feature that is constant, in all classes or in one) and "
            "var_smoothing does not raise it: set var_smoothing above 0"
        )
    lightest = float(xp.min(xp.where(count > 0, count, xp.ones_like(count))))
    narrowest = xp.min(variances, axis=0) if per_class else variances  # (d,) or ()
    too_small = smallest * min(1.0, lightest) < SMALLEST_VARIANCE
    if too_small or bool(xp.any(narrowest < NARROWEST * total_variance(moments))):
        raise ValueError(
            f"a variance is {smallest:.3g}, too small to divide by beside the others: raise "
            "var_smoothing, or scale the features up"
        )


def _check_counts(count: Array) -> None:
    xp = namespace(count)
    some = xp.where(count > 0, count, xp.ones_like(count))
    smallest, largest = float(xp.min(some)), float(xp.max(some))
    if not COUNTS[0] <= smallest <= largest <= COUNTS[1]:
        raise ValueError(
            f"sample_weight must add up to between {COUNTS[0]:.0e} and {COUNTS[1]:.0e} in each "
            f"class, got sums from {smallest:.3g} to {largest:.3g}: multiply or divide it"
        )
