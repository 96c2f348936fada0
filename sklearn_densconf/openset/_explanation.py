"""Which factor, and which features, make a picture unfamiliar: exact parts of quadratic forms."""

import numpy as np
from scipy.special import logsumexp
from sklearn.utils import Bunch

from sklearn_densconf.density import GaussianDensityClassifier
from sklearn_densconf.openset._familiarity import NAMES


def explain(
    directions: np.ndarray,
    density: GaussianDensityClassifier,
    background: GaussianDensityClassifier,
    location: np.ndarray,
    scale: np.ndarray,
) -> Bunch:
    """Take the log-odds of "known" apart, for features of length 1.

    A squared distance vᵀ Σ⁻¹ v is the sum over features j of v_j (Σ⁻¹ v)_j, exactly.

    Parameters
    ----------
    directions : ndarray of shape (n, d)
        Features of length 1.
    density, background : GaussianDensityClassifier
        Those of the classes, and the one of all together.
    location, scale : ndarray of shape (2,)
        a and w of the factors.

    Returns
    -------
    Bunch
        As `OpenSetClassifier.explain` returns it.
    """
    nearest = density.mahalanobis(directions).argmin(axis=1)
    from_class = -0.5 * _parts(directions - density.means_[nearest], density.covariances_)
    from_all = 0.5 * _parts(directions - background.means_, background.covariances_)
    features = np.stack([from_class, from_class + from_all], axis=1) / scale[:, None]  # (n, 2, d)
    offset = -location / scale
    factors = features.sum(axis=2) + offset
    # the log of ρ₁ρ₂ / (1 - ρ₁ρ₂) = e^(x₁ + x₂) / (1 + e^x₁ + e^x₂)
    both = -logsumexp(np.column_stack([np.zeros(len(factors)), factors]), axis=1)
    return Bunch(
        log_odds=factors.sum(axis=1) + both,
        names=NAMES,
        factors=factors,
        both=both,
        features=features,
        offset=offset,
        nearest=density.classes_[nearest],
    )


def _parts(deviation: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Compute v_j (Σ⁻¹ v)_j, (n, d)."""
    return deviation * np.linalg.solve(covariance, deviation.T).T
