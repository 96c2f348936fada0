"""An oracle: what the classifiers are to say, from the samples, by definition, in many digits.

No square is expanded, nothing is centred, no matrix product is saved. Every function takes and
returns nested lists of mpmath's numbers; `exact` makes them of arrays, without any rounding.
"""

from dataclasses import dataclass, field

import mpmath
import numpy as np
from mpmath import mp, mpf

DIGITS = 50
BREADTH = 4  # of the background, over the broadest class


def exact(values):
    """Return an array as nested lists of numbers, to the last bit."""
    values = np.asarray(values)
    if values.ndim == 0:
        return mpf(float(values))
    return [exact(part) for part in values]


def digits_for(largest, smallest):
    """Return how many digits keep 50 of a difference of squares of such numbers."""
    return DIGITS + 2 * int(max(0.0, np.log10(largest / smallest)))


@dataclass
class Gaussians:
    """One Gaussian a class: means (k, d), covariances (k, d, d), and what they are made from."""

    count: list
    mean: list
    covariance: list
    total: list  # variance of each feature over all classes, (d,)
    grand_mean: list
    inverse: list = field(init=False)
    log_determinant: list = field(init=False)

    def __post_init__(self):
        """Invert the covariances."""
        pairs = [_inverted(matrix) for matrix in self.covariance]
        self.inverse = [inverse for inverse, _ in pairs]
        self.log_determinant = [logarithm for _, logarithm in pairs]

    def squared_distance(self, x, k):
        """Compute (x - μ_k)ᵀ Σ_k⁻¹ (x - μ_k)."""
        return form(self.inverse[k], _minus(x, self.mean[k]))

    def log_density(self, x, k, temperature, scale):
        """Compute log N(x; μ_k, s Σ_k) / T."""
        d = len(x)
        normaliser = self.log_determinant[k] + d * mp.log(2 * mp.pi * scale)
        return -(self.squared_distance(x, k) / scale + normaliser) / (2 * temperature)


def fit(X, codes, weight, covariance_type, *, smoothing=0.0, shrinkage=None):
    """Fit Gaussians to samples: lists (n, d), classes, weights, and numbers."""
    d, n_classes = len(X[0]), max(codes) + 1
    rows = [[i for i, code in enumerate(codes) if code == k] for k in range(n_classes)]
    count = [mp.fsum(weight[i] for i in of_class) for of_class in rows]
    mean = [_mean(X, weight, of_class, d) for of_class in rows]
    n = mp.fsum(count)
    grand_mean = [mp.fsum(c * m[j] for c, m in zip(count, mean, strict=True)) / n for j in range(d)]
    everyone = range(len(X))
    total = [
        mp.fsum(weight[i] * (X[i][j] - grand_mean[j]) ** 2 for i in everyone) / n for j in range(d)
    ]
    scatter = [_scatter(X, weight, rows[k], mean[k]) for k in range(n_classes)]
    covariance = _SHAPES[covariance_type](scatter, count)
    if shrinkage is not None and covariance_type in ("tied", "full"):
        covariance = [_shrunk(matrix, mpf(shrinkage)) for matrix in covariance]
    largest = max(total)
    added = mpf(smoothing) * (largest if largest > 0 else 1)
    covariance = [_plus_identity(matrix, added) for matrix in covariance]
    return Gaussians(count, mean, covariance, total, grand_mean)


def background(gaussians, covariance_type):
    """Return the Gaussian about the mean of all, broader than every class in every direction."""
    d = len(gaussians.grand_mean)
    if covariance_type in ("tied", "full"):
        total = _total(gaussians)
        largest = max(_relative(matrix, total) for matrix in gaussians.covariance)
        wide = [[BREADTH * max(1, largest) * value for value in row] for row in total]
    else:
        wide = [[mpf(0)] * d for _ in range(d)]
        for j in range(d):
            widest = max(matrix[j][j] for matrix in gaussians.covariance)
            wide[j][j] = BREADTH * max(widest, gaussians.total[j])
    return Gaussians(
        [mpf(1)], [gaussians.grand_mean], [wide], gaussians.total, gaussians.grand_mean
    )


def mixed(log_ratio, share):
    """Compute log((1 - ε) exp(r) + ε)."""
    return mp.log((1 - share) * mp.exp(log_ratio) + share)


def posterior(joint):
    """Compute p of log-probabilities that are not normalised; -inf is 0."""
    largest = max(joint)
    terms = [mp.exp(value - largest) for value in joint]
    return [term / mp.fsum(terms) for term in terms]


def softmax(logits, temperature):
    """Compute exp(z / T), normalised."""
    return posterior([z / temperature for z in logits])


def unit(x):
    """Compute x / ‖x‖, or 0."""
    length = mp.sqrt(mp.fsum(value * value for value in x))
    return [value / length for value in x] if length > 0 else x


def known(scores, location, scale):
    """Compute ρ, the product of σ((s - a) / w)."""
    odds = [(s - a) / w for s, a, w in zip(scores, location, scale, strict=True)]
    return mp.fprod(1 / (1 + mp.exp(-x)) for x in odds)


def kept(rho):
    """Compute the ρ that no prior drowns: below τ = 1e-9 it is τ / (1 + log(τ / ρ))."""
    tau = mpf(1e-9)
    return rho if rho >= tau else tau / (1 + mp.log(tau / rho))


def discounted(proba, rho, prior):
    """Compute ρ q + (1 - ρ) π."""
    return [rho * q + (1 - rho) * p for q, p in zip(proba, prior, strict=True)]


def together(gaussians):
    """Merge the classes of one covariance to one class: within and between, smoothed no more."""
    n, mean = mp.fsum(gaussians.count), gaussians.grand_mean
    return Gaussians([n], [mean], [_total(gaussians)], gaussians.total, mean)


def form(matrix, vector):
    """Compute vᵀ A v."""
    d = range(len(vector))
    return mp.fsum(vector[i] * mp.fsum(matrix[i][j] * vector[j] for j in d) for i in d)


def _total(gaussians):
    """Compute the covariance within the classes plus the one between, (d, d)."""
    n, d = mp.fsum(gaussians.count), range(len(gaussians.grand_mean))
    deviation = [_minus(mean, gaussians.grand_mean) for mean in gaussians.mean]
    classes = list(zip(gaussians.count, gaussians.covariance, deviation, strict=True))
    return [[mp.fsum(c * (m[i][j] + v[i] * v[j]) for c, m, v in classes) / n for j in d] for i in d]


def _mean(X, weight, rows, d):
    n = mp.fsum(weight[i] for i in rows)
    if n == 0:
        return [mpf(0)] * d
    return [mp.fsum(weight[i] * X[i][j] for i in rows) / n for j in range(d)]


def _scatter(X, weight, rows, mean):
    deviation = [(weight[i], _minus(X[i], mean)) for i in rows]
    d = range(len(mean))
    return [[mp.fsum(w * v[i] * v[j] for w, v in deviation) for j in d] for i in d]


def _minus(first, second):
    return [a - b for a, b in zip(first, second, strict=True)]


def _plus_identity(matrix, added):
    d = range(len(matrix))
    return [[matrix[i][j] + (added if i == j else 0) for j in d] for i in d]


def _shrunk(matrix, weight):
    d = len(matrix)
    level = mp.fsum(matrix[j][j] for j in range(d)) / d
    return _plus_identity([[(1 - weight) * v for v in row] for row in matrix], weight * level)


def _diagonal(matrix):
    d = range(len(matrix))
    return [[matrix[i][j] if i == j else mpf(0) for j in d] for i in d]


def _over(scatter, count):
    """Return scatter / count of each class; the identity for a class without samples."""
    d = range(len(scatter[0]))
    identity = [[mpf(i == j) for j in d] for i in d]
    return [
        [[value / n for value in row] for row in matrix] if n > 0 else identity
        for matrix, n in zip(scatter, count, strict=True)
    ]


def _tied(scatter, count):
    n, d = mp.fsum(count), range(len(scatter[0]))
    one = [[mp.fsum(matrix[i][j] for matrix in scatter) / n for j in d] for i in d]
    return [one] * len(count)


def _spherical(scatter, count):
    d = len(scatter[0])
    return [
        _plus_identity(
            [[mpf(0)] * d for _ in range(d)], mp.fsum(matrix[j][j] for j in range(d)) / d
        )
        for matrix in _over(scatter, count)
    ]


_SHAPES = {
    "diag": lambda scatter, count: [_diagonal(matrix) for matrix in _over(scatter, count)],
    "spherical": _spherical,
    "tied_diag": lambda scatter, count: [_diagonal(matrix) for matrix in _tied(scatter, count)],
    "tied": _tied,
    "full": _over,
}


def _cholesky(matrix):
    d, factor = len(matrix), [[mpf(0)] * len(matrix) for _ in matrix]
    for i in range(d):
        for j in range(i + 1):
            rest = matrix[i][j] - mp.fsum(factor[i][m] * factor[j][m] for m in range(j))
            factor[i][j] = mp.sqrt(rest) if i == j else rest / factor[j][j]
    return factor


def _inverse_factor(matrix):
    factor, d = _cholesky(matrix), len(matrix)
    inverse = [[mpf(0)] * d for _ in range(d)]
    for j in range(d):
        for i in range(j, d):
            rest = mpf(i == j) - mp.fsum(factor[i][m] * inverse[m][j] for m in range(j, i))
            inverse[i][j] = rest / factor[i][i]
    return inverse, 2 * mp.fsum(mp.log(factor[j][j]) for j in range(d))


def _inverted(matrix):
    """Compute Σ⁻¹ and log |Σ|."""
    lower, log_determinant = _inverse_factor(matrix)
    d = range(len(matrix))
    inverse = [[mp.fsum(lower[m][i] * lower[m][j] for m in d) for j in d] for i in d]
    return inverse, log_determinant


def _relative(matrix, total):
    """Compute the largest eigenvalue of Σ relative to the total covariance."""
    lower, _ = _inverse_factor(total)
    lower = mp.matrix(lower)
    return max(mpmath.eigsy(lower * mp.matrix(matrix) * lower.T, eigvals_only=True))
