"""What a fitted classifier is to say, by the oracle, and how far it may be off: the stated bound.

With u = 2⁻⁵³, n samples and d features, D the squared distance of a sample to a class, M that of
the class's mean from the mean of all, κ the condition number of the correlations and |x| / σ the
size of the features in the standard deviations of the class, a log-density with the factor
f = 1 / (2 T s) is wrong by at most

    `CONSTANT` u (n + d + 10) κ (1 + |x| / σ) (f D + min(f M, 2¹⁷) + √(D f) + normaliser)

and what sets classes of one covariance apart by no more than that with f D replaced by the linear
terms, 2 f √(D₀ M). A posterior lies where such errors of the log-densities can take it.
"""

from dataclasses import dataclass

import numpy as np
from mpmath import mp, mpf

from tests import oracle

ROUNDED, NEAR = 2**17, mpf(1) / 16  # as in density/_distances.py
CONSTANT = 4
SATURATED = mpf("1e265")  # beyond, distances are those of nearer points,
FAR = 1e149  # and beyond this distance from the mean of all


@dataclass(frozen=True)
class Samples:
    """Samples (n, d), their classes, of which none lacks, and their weights."""

    X: np.ndarray
    codes: np.ndarray
    weight: np.ndarray

    @property
    def n_classes(self):
        """How many classes there are."""
        return int(self.codes.max()) + 1


class Expected:
    """What a fitted classifier is to say, and how far it may be off."""

    def __init__(self, density, columns, samples):
        X, codes, k = samples.X, samples.codes, samples.n_classes
        self.kind, self.columns = density.covariance_type, columns
        self.n_classes, self.share = k, mpf(density.background)
        given = density.priors
        how = {"smoothing": density.var_smoothing, "shrinkage": density.shrinkage}
        weight = oracle.exact(samples.weight)
        self.fits = [
            oracle.fit(oracle.exact(X[:, part]), codes, weight, self.kind, **how)
            for part in columns
        ]
        self.backgrounds = [
            oracle.background(each, self.kind) if self.share else None for each in self.fits
        ]
        self.scales = [
            [mpf(part.stop - part.start if v == "n_features" else v) for v in
             (density.temperature, density.covariance_scale)]
            for part in columns
        ]  # fmt: skip
        count = self.fits[0].count
        prior = (
            [c / mp.fsum(count) for c in count]
            if given is None
            else oracle.exact(np.full(k, 1 / k) if isinstance(given, str) else given)
        )
        self.log_prior = [mp.log(p) if p > 0 else -mp.inf for p in prior]
        self.rounding = mpf(2) ** -53 * CONSTANT * (len(X) + X.shape[1] + 10)
        size = np.abs(X)
        whole = size.max(axis=0)
        shared = self.kind in ("tied", "tied_diag")  # by all, and so are its errors
        each = [whole if shared else size[codes == j].max(axis=0) for j in range(k)]
        largest = oracle.exact(each)
        self.lost = [
            [_lost(fit, j, largest[j][part]) for j in range(k)]
            for fit, part in zip(self.fits, columns, strict=True)
        ]
        self.lost_of_background = [
            # which is as broad as the broadest class, and as wrong
            [max([*lost, _lost(wide, 0, oracle.exact(whole)[part])])] if wide else []
            for wide, part, lost in zip(self.backgrounds, columns, self.lost, strict=True)
        ]

    def comparisons(self, Z, proba, joint, distance):
        """Yield (name, actual, exact, bound) of every value."""
        for i, row in enumerate(Z):
            z = oracle.exact(row)
            apart, shared, bound, whole = self._joint(z)
            yield from self._posteriors(proba[i], apart, bound)
            if np.abs(row).max() > FAR:
                continue
            for k in range(self.n_classes):
                exact = apart[k] + shared
                if exact == -mp.inf or abs(exact) < SATURATED:
                    yield "joint", joint[i, k], exact, whole[k]
                d, bound = self._distance(z, k)
                if d < SATURATED:
                    yield "distance", distance[i, k], d, bound

    def _posteriors(self, actual, joint, apart):
        """Yield every posterior, which lies between those of the joints' upper and lower ends."""
        exact = oracle.posterior(joint)
        for k, value in enumerate(exact):
            up, down = (
                oracle.posterior(
                    [v + (sign * e if j == k else -sign * e)
                     for j, (v, e) in enumerate(zip(joint, apart, strict=True))]
                )[k]
                for sign in (1, -1)
            )  # fmt: skip
            bound = max(up - value, value - down) + mpf(2) ** -53 * (4 + self.n_classes)
            yield "posterior", actual[k], value, bound

    def _joint(self, z):
        """Compute log-probabilities less what is shared; that; bounds of the first, and of both."""
        density, error, apart = self._log_densities(z, self.fits, self.lost)
        if not self.share:
            joint = [v + p for v, p in zip(density, self.log_prior, strict=True)]
            sizes = [1 + (abs(v) if mp.isfinite(v) else 0) for v in joint]
            whole = [e + self.rounding * v for e, v in zip(error, sizes, strict=True)]
            return joint, mpf(0), apart, whole
        (shared,), (of_shared,), _ = self._log_densities(
            z, self.backgrounds, self.lost_of_background
        )
        joint, apart, whole = [], [], []
        for value, e, p in zip(density, error, self.log_prior, strict=True):
            ratio, off = value - shared, e + of_shared
            mix = oracle.mixed(ratio, self.share)
            wide = oracle.mixed(ratio + off, self.share) - mix
            joint.append(mix + p)
            apart.append(wide + self.rounding * (1 + abs(mix)))
            whole.append(wide + of_shared + self.rounding * (1 + abs(shared) + abs(mix)))
        return joint, shared, apart, whole

    def _log_densities(self, z, fits, losses):
        """Compute log-densities of the classes, and the bounds of their errors.

        Where all share one covariance, its quadratic form is not among what sets classes apart.
        """
        classes = range(len(fits[0].mean))
        values = [mpf(0) for _ in classes]
        size = [[mpf(0)] * 5 for _ in classes]  # f D, f M, rest, linear, of means
        blocks = zip(self.columns, fits, losses, self.scales, strict=True)
        for part, fit, of_block, (temperature, scale) in blocks:
            x, factor = z[part], 1 / (2 * temperature * scale)
            for k in classes:
                values[k] += fit.log_density(x, k, temperature, scale)
                terms = _terms(fit, of_block[k], x, k, factor)
                normaliser = abs(fit.log_determinant[k]) / 2 + len(x)
                terms[2] += of_block[k] * normaliser / temperature
                size[k] = [a + b for a, b in zip(size[k], terms, strict=True)]
        error = [
            self.rounding * (d + min(m, ROUNDED) + rest + of_means)
            for d, m, rest, _, of_means in size
        ]
        near = any(m > ROUNDED * 0.99 and d < NEAR * m * 1.01 for d, m, *_ in size)
        if near or self.kind not in ("tied", "tied_diag"):
            return values, error, error
        return values, error, [
            self.rounding * (linear + rest + of_means) for _, _, rest, linear, of_means in size
        ]  # fmt: skip

    def _distance(self, z, k):
        """Compute the squared distance to a class, and the bound of its error."""
        distance, size = mpf(0), [mpf(0)] * 5
        for part, fit, lost in zip(self.columns, self.fits, self.lost, strict=True):
            distance += fit.squared_distance(z[part], k)
            terms = _terms(fit, lost[k], z[part], k, mpf(1))
            size = [a + b for a, b in zip(size, terms, strict=True)]
        d, m, _, _, of_means = size
        return distance, self.rounding * (d + min(m, ROUNDED) + of_means) + mpf(10) ** -300


def _lost(fit, k, largest):
    """Compute what is lost of the digits: κ to correlations, and |x| / σ to an offset.

    Of a mean, no more digits are kept than those of a float64.
    """
    offset = mp.fsum(fit.inverse[k][j][j] * size**2 for j, size in enumerate(largest))
    return condition(fit.covariance[k]) * (1 + mp.sqrt(offset))


def _terms(fit, lost, x, k, factor):
    """Compute f D, f M, 1, linear terms, times what is lost, and rounding of means and center."""
    center, inverse = fit.grand_mean, fit.inverse[k]
    d = factor * fit.squared_distance(x, k)
    m = factor * oracle.form(inverse, _minus(fit.mean[k], center))
    from_center = factor * oracle.form(inverse, _minus(x, center))
    linear = 2 * mp.sqrt(from_center * m) + m
    of_means = lost * mp.sqrt(d * factor) + mpf(2) ** -53 * factor * lost**2
    return [*(lost * v for v in (d, m, mpf(1), linear)), of_means]


def _minus(first, second):
    return [a - b for a, b in zip(first, second, strict=True)]


def condition(covariance):
    """Compute the condition number of a covariance's correlations."""
    d = range(len(covariance))
    scaled = [
        [float(covariance[i][j] / mp.sqrt(covariance[i][i] * covariance[j][j])) for j in d]
        for i in d
    ]
    return mpf(1) if len(scaled) == 1 else mpf(float(np.linalg.cond(scaled)))
