"""Random fits over the admitted ranges against the oracle: no NaN, no warning, errors in bounds.

The bounds are those of `_bounds.py`, which `docs/user_guide.md` states.
"""

import re
import warnings
from collections import Counter

import numpy as np
from mpmath import mp, mpf

from sklearn_densconf import GaussianDensityClassifier, OpenSetClassifier, SoftmaxClassifier
from tests import oracle
from tests.trust._bounds import CONSTANT, Expected, Samples, condition

TYPES = ("diag", "spherical", "tied_diag", "tied", "full")
REFUSALS = (
    r"^a variance is 0 .*set var_smoothing above 0$",
    r"^a variance is .*, too small to divide by.*raise var_smoothing",
    r"^the covariance( of class number \d+)? is not positive definite.*Set shrinkage",
    r"squares overflow: scale the features down",
    r"^X varies too little for squares in float64.*scale the features up$",
)


def run(n=20_000, seed=0):
    """Try n random fits, and count what came of them.

    Returns
    -------
    dict
        ``tried``, ``refused`` (with a reason and a cure), ``nan``, ``warned``, ``failed`` (any
        other exception), ``beyond`` (errors beyond the bound), ``worst`` (the largest error over
        its bound), ``values`` that were compared, ``vague`` (posteriors of which the bound says
        nothing), and ``examples``: the seeds of what went wrong, with the kind.
    """
    counts, worst, examples = Counter(tried=0), 0.0, []
    for number in range(seed, seed + n):
        outcome = attempt(number)
        counts["tried"] += 1
        counts.update({key: outcome[key] for key in ("values", "vague")})
        worst = max(worst, outcome["worst"])
        if outcome["kind"] != "right":
            counts[outcome["kind"]] += 1
        if outcome["kind"] not in ("right", "refused"):
            examples.append((number, outcome["kind"], outcome["detail"]))
    kinds = "tried", "refused", "nan", "warned", "failed", "beyond", "values", "vague"
    return {kind: counts[kind] for kind in kinds} | {"worst": worst, "examples": examples}


def attempt(number):
    """Try one random fit; say what came of it."""
    rng = np.random.default_rng(number)
    kinds = [_gaussian_case] * 17 + [_softmax_case] * 2 + [_open_set_case]
    outcome = {"kind": "right", "detail": "", "worst": 0.0, "values": 0, "vague": 0}
    with warnings.catch_warnings(), mp.workdps(oracle.DIGITS):
        warnings.simplefilter("error")
        try:
            comparisons = kinds[rng.integers(len(kinds))](rng)
        except Warning as warning:
            return outcome | {"kind": "warned", "detail": str(warning)}
        except ValueError as error:
            known = any(re.search(refusal, str(error)) for refusal in REFUSALS)
            return outcome | {"kind": "refused" if known else "failed", "detail": str(error)}
        except Exception as error:
            return outcome | {"kind": "failed", "detail": repr(error)}
    return _judged(outcome, comparisons)


def _judged(outcome, comparisons):
    """Compare (name, actual, exact, bound) of every value."""
    for name, actual, exact, bound in comparisons:
        outcome["values"] += 1
        if np.isnan(actual):
            return outcome | {"kind": "nan", "detail": name}
        outcome["vague"] += bool(name == "posterior" and bound > 0.01)
        if exact == -mp.inf or actual == -np.inf:
            ratio = 0.0 if actual == exact else np.inf
        else:
            ratio = float(abs(mpf(float(actual)) - exact) / bound)
        outcome["worst"] = max(outcome["worst"], ratio)
        if ratio > 1:
            outcome |= {"kind": "beyond", "detail": f"{name}: {actual} for {float(exact)}"}
    return outcome


# Gaussians


def _gaussian_case(rng):
    """Return what a random classifier says of random samples, and what the oracle does."""
    covariance_type = str(rng.choice(TYPES))
    samples = _samples(rng)
    k, d = samples.n_classes, samples.X.shape[1]
    columns = _columns(rng, d)
    parameters = {
        "temperature": _scale(rng),
        "covariance_scale": _scale(rng),
        "var_smoothing": float(rng.choice([0.0, 1e-9, 1e-9, 1e-3, 1.0])),
        "priors": _priors(rng, k),
        "background": float(rng.choice([0.0, 0.0, 10 ** rng.uniform(-12, -0.01)])),
        "shrinkage": [None, None, 0.1, 1.0][rng.integers(4)],
        "blocks": None if len(columns) == 1 else [part.stop - part.start for part in columns],
    }
    density = GaussianDensityClassifier(covariance_type, **parameters)
    _fit(density, samples, rng)
    Z = _scored(rng, samples.X, samples.codes)
    said = [
        getattr(density, name)(Z)
        for name in ("predict_proba", "predict_joint_log_proba", "mahalanobis")
    ]
    mp.dps = _digits(samples.X, Z)
    expected = Expected(density, columns, samples)
    return list(expected.comparisons(Z, *said))


def _samples(rng):
    """Return samples of any scale and offset, with classes far away and dead features."""
    k, d = rng.integers(1, 5, size=2)
    codes = np.repeat(np.arange(k), rng.integers(1, 9, size=k))
    wide = rng.random() < 0.25
    scale = 10.0 ** (rng.uniform(-150, 125) if wide else rng.uniform(-6, 6))
    apart = rng.normal(size=(k, d)) * rng.choice([0.1, 1.0, 10.0])
    if rng.random() < 0.4:
        apart[rng.integers(k)] += 10.0 ** rng.uniform(1, 12) * rng.normal(size=d)
    X = rng.normal(size=(len(codes), d)) @ (np.eye(d) + 0.5 * rng.normal(size=(d, d)))
    X = X + apart[codes]
    if rng.random() < 0.3:
        X += 10.0 ** rng.uniform(0, 8) * rng.normal(size=d)
    X *= scale * 10.0 ** (rng.uniform(-3, 3, size=d) * (rng.random() < 0.3))
    if rng.random() < 0.15:
        X[:, rng.integers(d)] = scale * rng.choice([0.0, 0.1, 1 / 3])
    if rng.random() < 0.15:
        X[codes == rng.integers(k), rng.integers(d)] = scale * rng.choice([0.0, 1.0])
    weight = rng.choice([0.25, 1.0, 3.0, 0.1], size=len(codes))
    return Samples(X, codes, np.ones(len(codes)) if rng.random() < 0.6 else weight)


def _scored(rng, X, codes):
    """Return a sample of the fit, two between, and one as far as it may be."""
    spread = X.std(axis=0) + X.std() / 8
    near = X[rng.integers(len(X), size=2)] + spread * rng.normal(size=(2, X.shape[1]))
    exponent = rng.uniform(0, 20 if rng.random() < 0.7 else 280)
    with np.errstate(over="ignore"):
        far = X.mean(axis=0) + spread * 10.0**exponent * rng.normal(size=X.shape[1])
    far = np.clip(far, -1e300, 1e300)
    own = X[codes == rng.integers(codes.max() + 1)].mean(axis=0)
    return np.vstack([X[rng.integers(len(X))], own, near, far])


def _scale(rng):
    return ["n_features", 1.0, 10.0 ** rng.uniform(-3, 3), 10.0 ** rng.uniform(-9, 9)][
        rng.choice(4, p=[0.4, 0.4, 0.1, 0.1])
    ]


def _priors(rng, k):
    given = rng.dirichlet(np.ones(k))
    if k > 1 and rng.random() < 0.3:
        given[0] = 0.0
    return [None, None, "uniform", given / given.sum()][rng.integers(4)]


def _columns(rng, d):
    cut = int(rng.integers(0, d)) if rng.random() < 0.25 else 0
    return [slice(0, d)] if cut == 0 else [slice(0, cut), slice(cut, d)]


def _fit(density, samples, rng):
    """Fit at once, in parts, or merged from parts: all must come to the same."""
    X, codes, weight = samples.X, samples.codes, samples.weight
    classes, way = range(samples.n_classes), rng.integers(3)
    if way == 0:
        density.fit(X, codes, weight)
        return
    parts = np.array_split(rng.permutation(len(X)), min(len(X), 3))
    template = density.get_params()
    for number, part in enumerate(parts):
        alone = way == 1 or number == 0
        fitted = density if alone else GaussianDensityClassifier(**template)
        fitted.partial_fit(X[part], codes[part], classes, weight[part])
        if not alone:
            density.merge(fitted)


def _digits(X, Z):
    size = np.abs(np.vstack([X, Z]))
    smoothed = min(size.max(), 1e-5)  # the standard deviation of a constant feature is not smaller
    return oracle.digits_for(size.max() + 1e-300, size[size > 0].min(initial=smoothed) + 1e-300)


# Softmax, and what is discounted


def _softmax_case(rng):
    k = int(rng.integers(2, 6))
    temperature = 10.0 ** rng.uniform(-300 if rng.random() < 0.2 else -3, 3)
    softmax = SoftmaxClassifier(temperature=temperature).fit(np.eye(k), np.arange(k))
    logits = rng.normal(size=(5, k)) * 10.0 ** rng.uniform(-3, 308 if rng.random() < 0.3 else 4)
    logits = np.clip(np.nan_to_num(logits), -1.7e308, 1.7e308)
    comparisons = []
    for actual, row in zip(softmax.predict_proba(logits), logits, strict=True):
        z = oracle.exact(row)
        size = max(abs(value) for value in z) / mpf(temperature)
        exact = oracle.softmax(z, mpf(temperature))
        bound = mpf(2) ** -53 * (8 * min(size, 2**60) + 8)
        comparisons += [("softmax", a, e, bound) for a, e in zip(actual, exact, strict=True)]
    return comparisons


def _open_set_case(rng):
    k, d = int(rng.integers(2, 4)), int(rng.integers(2, 4))
    codes = np.repeat(np.arange(k), rng.integers(6, 12))
    means = rng.normal(size=(k, d)) * 10.0 ** rng.uniform(-1, 2)
    features = means[codes] + rng.normal(size=(len(codes), d))
    X = np.c_[features, 3 * np.eye(k)[codes] + rng.normal(size=(len(codes), k))]
    template = GaussianDensityClassifier("tied", shrinkage=0.1, var_smoothing=0.0)
    model = OpenSetClassifier(density=template, discount=float(rng.uniform(0.01, 0.3)))
    # as fit with X_val, which would warn that these are no held-out samples
    model.partial_fit(X, codes, classes=np.arange(k)).calibrate(X, codes)
    Z = X[:5] + rng.normal(size=(5, d + k)) * 10.0 ** rng.uniform(-1, 3)
    return list(_discounted(model, X, codes, Z, d))


def _discounted(model, X, codes, Z, d):
    """Yield posteriors of an open-set classifier, from the oracle's distances of directions."""
    directions = [oracle.unit(oracle.exact(row[:d])) for row in X]
    n_classes = int(codes.max()) + 1
    classes = oracle.fit(directions, codes, [mpf(1)] * len(X), "tied", shrinkage=0.1)
    everyone = oracle.together(classes)
    location, scale = oracle.exact(model.location_), oracle.exact(model.scale_)
    kappa = condition(classes.covariance[0])
    rounding = mpf(2) ** -53 * CONSTANT * (len(X) + d + 10) * kappa
    prior = [mpf(1) / n_classes] * n_classes
    steep = mp.fsum(classes.inverse[0][j][j] for j in range(d))  # M, and rounding of means
    for actual, row in zip(model.predict_proba(Z), Z, strict=True):
        u = oracle.unit(oracle.exact(row[:d]))
        each = [classes.squared_distance(u, k) for k in range(n_classes)]
        at_mean = everyone.squared_distance(u, 0)
        scores = [-min(each) / 2, (at_mean - min(each)) / 2]
        far = max([*each, at_mean])
        off = rounding * (1 + far + mp.sqrt(far * steep) + steep)
        q = oracle.softmax(oracle.exact(row[d:]), mpf(model.temperature_))
        ends = [
            oracle.discounted(q, oracle.kept(oracle.known(moved, location, scale)), prior)
            for moved in ([s + o for s in scores] for o in (mpf(0), off, -off))
        ]
        for a, exact, up, down in zip(actual, *ends, strict=True):
            yield "discounted", a, exact, max(abs(up - exact), abs(down - exact)) + rounding
