"""ConformalRejector: labels that are withheld, with a stated guarantee. Imports no torch."""

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Self

import numpy as np
from scipy.sparse import issparse
from scipy.special import bdtr
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.utils import Tags, get_tags
from sklearn.utils.validation import check_is_fitted, column_or_1d

from sklearn_densconf._array import to_numpy
from sklearn_densconf._validation import check_number, check_option, encode_labels

ALPHA = 0.05  # the default
N_LEVELS = 16  # coverages at which the risk is tested: each costs a share of delta


class Decision(NamedTuple):
    """What was decided about each sample.

    Attributes
    ----------
    label : ndarray of shape (n_samples,)
        The estimator's label, rejected or not.
    accepted : ndarray of shape (n_samples,), bool
        Whether the label may be used.
    reason : ndarray of shape (n_samples,), str
        "" for what is accepted; "not known" where the estimator says that the sample is more
        likely unlike the training data than like it (``known_proba`` below 0.5); else "not sure".
    """

    label: np.ndarray
    accepted: np.ndarray
    reason: np.ndarray


class ConformalRejector(MetaEstimatorMixin, ClassifierMixin, BaseEstimator):
    r"""Withholds labels, so that a stated share is not exceeded.

    With ``risk=None`` it is split conformal: let s(x, k) be the score of label k, and

    .. math:: p_k(x) = \frac{1 + \#\{i : y_i = k, s(x_i, k) \le s(x, k)\}}{1 + n_k}

    its p-value among the calibration samples of that class. A sample is rejected where no label has
    a p-value above α. For samples exchangeable with the calibration samples of their class,

    .. math:: P(\text{rejected} \mid y = k) \le \alpha \quad \text{for every class } k,

    in expectation over the calibration samples. With ``per_class=False`` all classes are pooled and
    the guarantee holds for all samples together.

    With ``risk=r`` the share of errors among the accepted is bounded instead: the label of the
    estimator is accepted where its score lies above a threshold λ, and

    .. math:: P_{\text{calibration}} \left( P(\text{wrong} \mid s > \lambda) > r \right) \le \delta.

    λ gives the largest coverage, of 16, at which the exact binomial test of "the risk exceeds r"
    is rejected at level δ / 16. Given λ, the calibration samples above it are a sample of what will
    be accepted, which is why the test is exact; the division by 16 pays for choosing among them.
    The smallest of these coverages is the first at which the test could be rejected at all.

    No guarantee holds for data of another distribution. Out-of-distribution samples are rejected as
    often as the score tells them apart.

    Parameters
    ----------
    estimator : classifier
        With ``predict_proba``, or a Pipeline that ends in one. A fitted one is used as it is, and
        all data of ``fit`` calibrate; of one that is not fitted a clone is fitted to one half of
        them and the other half calibrates.
    alpha : float, default=0.05
        Share of samples of a class that may be rejected, in (0, 1).
    criterion : {"confidence", "known", "score_samples"} or callable, default="confidence"
        What is compared: the probability of each label; ``known_proba``, which
        :class:`OpenSetClassifier` has; ``score_samples``; or a
        function of (estimator, X) that returns one number per sample, larger for what to accept.
    per_class : bool, default=True
        Whether the share is kept for every class, or for all samples together.
    risk : float or None, default=None
        Share of errors among the accepted, in (0, 1), to be kept in place of ``alpha``.
    delta : float, default=0.05
        Probability, over the calibration samples, that the risk is exceeded, in (0, 1).
    rejected_label : object, default=None
        What ``predict`` returns for a rejected sample; None is -1 for numbers and "rejected" for
        strings. ``np.nan`` makes floats of numeric labels.
    random_state : int, RandomState or None, default=None
        Of the split, where the estimator is not fitted.

    Attributes
    ----------
    estimator_ : classifier
        The fitted estimator.
    classes_ : ndarray of shape (n_classes,)
        Its labels.
    calibration_scores_ : list of ndarray
        The sorted scores of each class's calibration samples; one array with ``per_class=False``.
    threshold_ : float
        λ, with ``risk``; infinite where no coverage keeps the risk.
    coverage_ : float
        Share of the calibration samples that are accepted.
    n_features_in_ : int
        Number of features, where the estimator tells it.

    See Also
    --------
    sklearn_densconf.displays.RejectionDisplay : Draws what is rejected against what was promised.

    References
    ----------
    V. Vovk, A. Gammerman, G. Shafer, "Algorithmic Learning in a Random World", 2005, section 4.5
    (label-conditional conformal predictors). Y. Geifman, R. El-Yaniv, "Selective Classification for
    Deep Neural Networks", NeurIPS 2017, section 3 (a bound on the risk; there by bisection).

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn_densconf import ConformalRejector
    >>> X, y = load_digits(return_X_y=True)
    >>> model = LogisticRegression(C=0.01, max_iter=1000).fit(X[:800], y[:800])
    >>> rejector = ConformalRejector(model, alpha=0.05).fit(X[800:1300], y[800:1300])
    >>> bool((rejector.predict(X[1300:]) == -1).mean() < 0.1)
    True
    """

    def __init__(
        self,
        estimator: Any,
        *,
        alpha: float = ALPHA,
        criterion: str | Callable[[Any, Any], Any] = "confidence",
        per_class: bool = True,
        risk: float | None = None,
        delta: float = 0.05,
        rejected_label: Any = None,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.alpha = alpha
        self.criterion = criterion
        self.per_class = per_class
        self.risk = risk
        self.delta = delta
        self.rejected_label = rejected_label
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Calibrate on samples that the estimator was not fitted to.

        Parameters
        ----------
        X : array-like or list of length n_samples
            What the estimator takes.
        y : array-like of shape (n_samples,)
            Labels.

        Returns
        -------
        ConformalRejector
            Itself.

        Raises
        ------
        ValueError
            If a parameter is out of its range, a label is not among the estimator's, or the label
            of rejected samples is.

        Warns
        -----
        UserWarning
            If a class has fewer than 1/α - 1 samples, so that nothing can be rejected, if no
            coverage keeps the risk, so that everything is, or if ``alpha`` is set beside ``risk``.
        """
        self._check_parameters()
        y = column_or_1d(to_numpy(y), warn=True)
        if _is_fitted(self.estimator):
            self.estimator_ = self.estimator
        else:
            is_mapping = isinstance(X, Mapping) and not issparse(X)  # one kind of these is a dict
            samples = np.arange(len(y)) if is_mapping else X
            *split, y, y_held_out = train_test_split(
                samples, y, test_size=0.5, stratify=_if_possible(y), random_state=self.random_state
            )
            fitted, X = [_rows(X, part) for part in split] if is_mapping else split
            self.estimator_ = clone(self.estimator).fit(fitted, y)
            y = y_held_out
        self.classes_ = to_numpy(self.estimator_.classes_)
        self._check_rejected_label()
        codes = encode_labels(y, self.classes_)
        view = _View(self.estimator_, X, self.criterion)
        scores = view.label_scores() if self.risk is None else view.own_score()
        if len(scores) != len(codes):
            raise ValueError(f"criterion gave {len(scores)} numbers for {len(codes)} samples")
        if self.risk is None:
            self._calibrate(scores, codes)
        else:
            self._bound_risk(scores, view.labels() == self.classes_[codes])
        self._calibrated_with = self._settings()
        self.coverage_ = float(self._accepts(view).mean())
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Predict labels, and the label of rejected samples in their places.

        Parameters
        ----------
        X : array-like or list of length n_samples
            What the estimator takes.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels; of dtype object where no other holds them and that of rejected samples.
        """
        label, accepted, _ = self.decide(X)
        rejected = np.asarray([self._rejected_label()])
        predicted = np.empty(len(label), _type_of_both(self.classes_, rejected))
        predicted[~accepted] = rejected[0]
        # Of scalars: as an array, dates would become whole numbers among objects.
        predicted[accepted] = np.array(list(label[accepted]), predicted.dtype)
        return predicted

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the estimator's probabilities, of accepted and rejected samples alike.

        Parameters
        ----------
        X : array-like or list of length n_samples
            What the estimator takes.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities.
        """
        check_is_fitted(self)
        return self.estimator_.predict_proba(X)

    def decide(self, X: Any) -> Decision:
        """Return the label of each sample, whether it is accepted, and why not.

        Parameters
        ----------
        X : array-like or list of length n_samples
            What the estimator takes; it passes through the network once.

        Returns
        -------
        Decision
            ``label``, ``accepted`` and ``reason``, each of shape (n_samples,).
        """
        check_is_fitted(self)
        self._check_calibration()
        view = _View(self.estimator_, X, self.criterion)
        accepted = self._accepts(view)
        reason = np.where(view.is_known(), "not sure", "not known")
        return Decision(view.labels(), accepted, np.where(accepted, "", reason))

    def p_value(self, X: Any) -> np.ndarray:
        """Return the largest p-value of a label; what lies at or below α is rejected.

        Parameters
        ----------
        X : array-like or list of length n_samples
            What the estimator takes.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            The p-values, in (0, 1].

        Raises
        ------
        AttributeError
            If the rejector bounds a risk: then there is one threshold, and no p-value.
        """
        check_is_fitted(self)
        if self.risk is not None:
            raise AttributeError("p_value needs risk=None: with a risk there is one threshold")
        self._check_calibration()
        return self._p_value(_View(self.estimator_, X, self.criterion).label_scores())

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "coverage_")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.input_tags, tags.classifier_tags = inner.input_tags, inner.classifier_tags
        return tags

    @property
    def n_features_in_(self) -> int:
        """Number of features, where the estimator tells it."""
        check_is_fitted(self)
        return self.estimator_.n_features_in_

    def _calibrate(self, scores: np.ndarray, codes: np.ndarray) -> None:
        """Keep the scores of the true labels, sorted; scores are (n, k) or (n, 1)."""
        true = np.take_along_axis(scores, codes[:, None] % scores.shape[1], axis=1)[:, 0]
        groups = codes if self.per_class else np.zeros_like(codes)
        n_groups = len(self.classes_) if self.per_class else 1
        self.calibration_scores_ = [np.sort(true[groups == k]) for k in range(n_groups)]
        counts = np.array([len(group) for group in self.calibration_scores_])
        if (counts + 1 < 1 / self.alpha).any():
            few = f" of class {self.classes_[counts.argmin()]}" if self.per_class else ""
            cure = ", or set per_class=False" if self.per_class else ""
            warnings.warn(
                f"alpha={self.alpha:g} needs {math.ceil(1 / self.alpha) - 1} calibration samples, "
                f"got {counts.min()}{few}: nothing is rejected. Calibrate on more{cure}",
                stacklevel=3,
            )

    def _bound_risk(self, score: np.ndarray, correct: np.ndarray) -> None:
        """Find the lowest threshold above which the risk is kept."""
        risk, descending = float(self.risk or 0.0), np.sort(score)[::-1]
        n, level = len(score), self.delta / N_LEVELS
        self.threshold_ = math.inf
        fewest = math.ceil(math.log(level) / math.log1p(-risk))  # without an error among them
        numbers = np.linspace(min(fewest, n), n, N_LEVELS).round().astype(int)
        for m in np.unique(numbers)[::-1]:
            threshold = descending[m] if m < n else -math.inf
            above = score > threshold
            n_wrong, n_above = int((~correct[above]).sum()), int(above.sum())
            if n_above and bdtr(n_wrong, n_above, risk) <= level:
                self.threshold_ = float(threshold)
                return
        warnings.warn(
            f"no coverage keeps risk={risk:g} at delta={self.delta:g} on {n} calibration samples "
            f"(accuracy {correct.mean():.3g}): everything is rejected. Calibrate on more samples, "
            "or allow a larger risk",
            stacklevel=3,
        )

    def _settings(self) -> dict[str, Any]:
        """Return what a calibration is for: not alpha, on which no p-value depends."""
        criterion = "a function" if callable(self.criterion) else self.criterion
        if self.risk is None:
            return {"criterion": criterion, "risk": None, "per_class": bool(self.per_class)}
        return {"criterion": criterion, "risk": float(self.risk), "delta": float(self.delta)}

    def _check_calibration(self) -> None:
        now = self._settings()
        before = getattr(self, "_calibrated_with", now)  # a file of before this was kept has none
        if before != now:
            raise ValueError(f"{now} was set, but {before} was calibrated: fit again")

    def _accepts(self, view: "_View") -> np.ndarray:
        if self.risk is not None:
            return np.asarray(view.own_score() > self.threshold_)
        return self._p_value(view.label_scores()) > self.alpha

    def _p_value(self, scores: np.ndarray) -> np.ndarray:
        groups = self.calibration_scores_
        columns = [scores[:, k % scores.shape[1]] for k in range(len(groups))]
        if len(groups) == 1:
            columns = [scores.max(axis=1)]
        ranks = [
            (1 + np.searchsorted(group, column, side="right")) / (1 + len(group))
            for group, column in zip(groups, columns, strict=True)
        ]
        return np.max(ranks, axis=0)

    def _rejected_label(self) -> Any:
        if self.rejected_label is not None:
            return self.rejected_label
        return -1 if self.classes_.dtype.kind in "biuf" else "rejected"

    def _check_rejected_label(self) -> None:
        label = self._rejected_label()
        is_number = isinstance(label, (bool, int, float, np.number))
        if is_number != (self.classes_.dtype.kind in "biuf") or label in self.classes_.tolist():
            raise ValueError(
                f"rejected_label must be of the type of the labels, and none of {self.classes_}, "
                f"got {label!r}: set another"
            )

    def _check_parameters(self) -> None:
        for name in ("alpha", "delta", *(["risk"] if self.risk is not None else [])):
            check_number(name, getattr(self, name), lambda a: 0 < a < 1, "a float in (0, 1)")
        if not callable(self.criterion):
            check_option("criterion", self.criterion, ["confidence", "known", "score_samples"])
        if self.risk is not None and self.alpha != ALPHA:
            warnings.warn(
                f"risk={self.risk:g} is kept, but alpha={self.alpha:g} is not, since a rejector "
                f"makes one promise: leave alpha at {ALPHA:g}, or set risk=None",
                stacklevel=3,
            )


class _View:
    """What an estimator says of samples that passed through its transformers once."""

    def __init__(self, estimator: Any, X: Any, criterion: Any) -> None:
        self._whole, self._X, self._criterion = estimator, X, criterion
        self._last, self._Z = estimator, X
        if isinstance(estimator, Pipeline) and not callable(criterion):
            self._last = estimator[-1]
            self._Z = estimator[:-1].transform(X) if len(estimator) > 1 else X
        self._classes = to_numpy(self._last.classes_)

    def labels(self) -> np.ndarray:
        return to_numpy(self._last.predict(self._Z))

    def label_scores(self) -> np.ndarray:
        """Return the score of each label, (n, k), or of a sample, whatever its label, (n, 1)."""
        if self._criterion == "confidence":
            return to_numpy(self._last.predict_proba(self._Z)).astype(np.float64)
        return self.own_score()[:, None]

    def own_score(self) -> np.ndarray:
        """Return the score of the predicted label, (n,)."""
        if callable(self._criterion):
            score = to_numpy(self._criterion(self._whole, self._X))
        elif self._criterion == "confidence":
            codes = encode_labels(self.labels(), self._classes)
            score = np.take_along_axis(self.label_scores(), codes[:, None], axis=1)[:, 0]
        else:
            method = "known_proba" if self._criterion == "known" else "score_samples"
            score = to_numpy(self._method(method)(self._Z))
        if np.isnan(score).any() or score.ndim != 1:
            raise ValueError(
                f"criterion must give one number per sample and none NaN, got shape {score.shape}"
            )
        return score

    def is_known(self) -> np.ndarray:
        """Return whether the estimator, where it says so, holds a sample for known."""
        if not hasattr(self._last, "known_proba"):
            return np.ones(len(self.labels()), dtype=bool)
        return to_numpy(self._last.known_proba(self._Z)) >= 0.5

    def _method(self, name: str) -> Callable[[Any], Any]:
        if not hasattr(self._last, name):
            raise ValueError(
                f"criterion={self._criterion!r} needs an estimator with {name}, got "
                f"{self._last!r}: set criterion='confidence'"
            )
        return getattr(self._last, name)


def _type_of_both(classes: np.ndarray, rejected: np.ndarray) -> np.dtype:
    """Return the type of labels and the rejected one; float64 would round whole numbers of 2**53.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
        The labels.
    rejected : ndarray of shape (1,)
        The label of rejected samples.

    Returns
    -------
    dtype
        The common type, or object where there is none, or where it changes a label.
    """
    try:
        dtype = np.result_type(classes.dtype, rejected.dtype)
    except TypeError:  # dates and strings, for instance
        return np.dtype(object)
    with np.errstate(invalid="ignore"):  # 2**64 is none of uint64
        is_exact = (classes.astype(dtype).astype(classes.dtype) == classes).all()
    return dtype if is_exact else np.dtype(object)


def _rows(X: Mapping[str, Any], indices: np.ndarray) -> dict[str, Any]:
    """Return samples of arrays by name."""
    return {
        name: values[indices] if hasattr(values, "shape") else [values[i] for i in indices]
        for name, values in X.items()
    }


def _is_fitted(estimator: Any) -> bool:
    try:
        check_is_fitted(estimator[-1] if isinstance(estimator, Pipeline) else estimator)
    except NotFittedError:
        return False
    return True


def _if_possible(y: np.ndarray) -> np.ndarray | None:
    """Return labels to stratify by, or None where a class has one sample."""
    return y if np.unique(y, return_counts=True)[1].min() > 1 else None
