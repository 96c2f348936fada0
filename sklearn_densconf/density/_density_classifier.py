"""DensityClassifier: Bayes' rule on any density model of scikit-learn's kind."""

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.base import clone
from sklearn.neighbors import KernelDensity
from sklearn.utils.validation import has_fit_parameter

from sklearn_densconf._array import log_sum_exp
from sklearn_densconf._callbacks import as_one_task
from sklearn_densconf._validation import (
    check_features,
    check_label_rule,
    check_labels,
    check_present,
    check_priors,
    check_scale,
    check_weight,
    encode_labels,
)
from sklearn_densconf.density._logits import warn_of_features
from sklearn_densconf.density._posterior import PosteriorMixin

FAR = 1e100  # where squares, summed and divided by variances, still are float64


class DensityClassifier(PosteriorMixin):
    r"""Bayes' rule on one density model a class, of any kind.

    .. math:: p(y \mid z) \propto q(z \mid y)^{1 / T} \, \pi_y

    where q is the density of a clone of ``estimator``, fitted to the class's samples: the "more
    sophisticated density models" that the paper leaves to others. Where no class has any density
    (beyond a kernel of bounded support) the posterior is the priors, and ``score_samples`` -inf.

    Parameters
    ----------
    estimator : object
        A density model with ``fit(X)`` and ``score_samples(X)`` (log-densities, in nats), such as
        :class:`sklearn.mixture.GaussianMixture` or :class:`sklearn.neighbors.KernelDensity`. Of
        the latter, also within a pipeline or search, ``leaf_size`` is raised to the number of
        samples: scikit-learn's tree loses tails far from the data (by hundreds of nats), its
        leaves do not. Densities must integrate to one: those of
        :class:`sklearn.mixture.BayesianGaussianMixture` do not (0.85 for 20 samples of 2 features,
        0.01 for 200 of 64), and classes with few samples get too little.
    temperature : "n_features" or float, default="n_features"
        Root T, from 1e-9 to 1e9; "n_features" takes the d-th root of the densities, 1.0 is plain
        Bayes.
    priors : None, "uniform" or array of shape (n_classes,), default=None
        Class priors π; None takes the (weighted) class frequencies.
    predict_from : {"posterior", "features"}, default="posterior"
        Label rule: the largest posterior, or the largest activation, as the paper does; the
        latter needs one feature a class, in the order of ``classes_``.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    class_count_ : ndarray of shape (n_classes,)
        Sum of the weights of each class's samples.
    class_prior_ : ndarray of shape (n_classes,)
        π.
    estimators_ : list of object
        The fitted density models, in the order of ``classes_``.
    n_features_in_ : int
        d.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, where X had them.

    References
    ----------
    A. Subramanya, S. Srinivas, R. V. Babu, "Confidence estimation in Deep Neural networks via
    density modelling", arXiv:1707.07013, section 5.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.mixture import GaussianMixture
    >>> from sklearn_densconf import DensityClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> density = DensityClassifier(GaussianMixture(2, random_state=0)).fit(X, y)
    >>> density.score(X, y) > 0.97
    True
    """

    def __init__(
        self,
        estimator: Any,
        *,
        temperature: str | float = "n_features",
        priors: Any = None,
        predict_from: str = "posterior",
    ) -> None:
        self.estimator = estimator
        self.temperature = temperature
        self.priors = priors
        self.predict_from = predict_from

    @as_one_task
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit one clone of the density model to each class.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Activations z of the training pictures.
        y : array of shape (n_samples,)
            Labels.
        sample_weight : array of shape (n_samples,), default=None
            Weights, at least 0. They count in the priors, and in the densities; the density
            model's ``fit`` must take them then, unless all that are not 0 are equal.

        Returns
        -------
        DensityClassifier
            Itself.

        Raises
        ------
        ValueError
            If a parameter is out of its range; a value of X is not finite (the sample is named);
            a class has no weight; ``predict_from="features"`` and the numbers of features and
            classes differ; the density model refuses the samples of a class (a note of the error
            names the class).
        TypeError
            If the density model lacks ``fit`` or ``score_samples``, or weights differ that its
            ``fit`` does not take.
        """
        self._check_parameters()
        X = check_features(self, X, reset=True)
        y, self.classes_ = check_labels(y, X)
        weight = check_weight(sample_weight, X)
        codes = encode_labels(y, self.classes_)
        check_label_rule(self.predict_from, X.shape[1], len(self.classes_))
        self.class_count_ = np.bincount(codes, weight)
        check_present(self.classes_, self.class_count_)
        if self.predict_from == "features":
            warn_of_features(X, codes, self.classes_)
        priors = check_priors(self.priors, len(self.classes_))
        self.class_prior_ = self.class_count_ / weight.sum() if priors is None else priors
        is_equal = (weight == weight.max())[weight > 0].all()
        if not is_equal:
            self._check_takes_weights()
        self.estimators_ = []
        for k, label in enumerate(self.classes_):
            members = (codes == k) & (weight > 0)
            options = {} if is_equal else {"sample_weight": weight[members]}
            self.estimators_.append(_fitted(self.estimator, label, X[members], **options))
        return self

    def score_samples(self, X: Any) -> np.ndarray:
        """Compute log p(z), an out-of-distribution score; not tempered.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Activations z.

        Returns
        -------
        ndarray of shape (n_samples,)
            Evidence log Σ_k q(z | k) π_k, in nats.
        """

        X = self._checked(X, "score_samples")
        head = self._head(X)
        return self._mapped(head.log_evidence, head, X)

    def _head(self, X: np.ndarray) -> "_Densities":
        with np.errstate(divide="ignore"):  # a prior of 0 is meant
            log_prior = np.log(self.class_prior_)
        temperature = X.shape[1] if self.temperature == "n_features" else self.temperature
        return _Densities(self.classes_, self.estimators_, float(temperature), log_prior)

    def _check_parameters(self) -> None:
        check_scale("temperature", self.temperature)
        if missing := [m for m in ("fit", "score_samples") if not hasattr(self.estimator, m)]:
            raise TypeError(
                f"estimator must have fit and score_samples, got {self.estimator!r} without "
                f"{missing}: take a density model such as GaussianMixture()"
            )

    def _check_takes_weights(self) -> None:
        if not has_fit_parameter(self.estimator, "sample_weight"):
            raise TypeError(
                f"sample_weight differs from sample to sample, but {type(self.estimator).__name__}"
                ".fit takes none: leave it out, or take a density model that does, such as "
                "KernelDensity()"
            )


@dataclass(frozen=True)
class _Densities:
    """The head of any density models: one per class, tempered, and the log-priors."""

    classes: np.ndarray
    estimators: list[Any]
    temperature: float
    log_prior: np.ndarray
    n_multiplications = math.inf

    def joint(self, X: np.ndarray, out: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self._write_log_densities(X, out)
        out /= self.temperature
        out += self.log_prior
        nowhere = np.isneginf(out).all(axis=1)
        out[nowhere] = self.log_prior  # no evidence for a class that is expected
        return out, np.where(nowhere, -np.inf, 0.0)[:, None]

    def log_evidence(self, X: np.ndarray, out: np.ndarray) -> np.ndarray:
        self._write_log_densities(X, out)
        out += self.log_prior
        return log_sum_exp(out)[:, 0]

    def _write_log_densities(self, X: np.ndarray, out: np.ndarray) -> None:
        X = X / np.maximum(1.0, np.abs(X).max(axis=1, keepdims=True) / FAR)  # on the same ray
        for k, (label, model) in enumerate(zip(self.classes, self.estimators, strict=True)):
            log_density = np.asarray(model.score_samples(X))
            _check_log_density(log_density, len(X), label, model)
            out[:, k] = log_density


def _fitted(estimator: Any, label: Any, X: np.ndarray, **options: Any) -> Any:
    """Fit a clone to the samples of one class; an error says which class it was."""
    model = clone(estimator)
    for part in (model, *model.get_params().values()):  # of pipelines and searches, too
        if isinstance(part, KernelDensity):
            # In one leaf sums are exact: with more, scikit-learn's tree drops tails far away.
            part.set_params(leaf_size=max(part.leaf_size, len(X)))
    try:
        return model.fit(X, **options)
    except Exception as error:
        name = type(estimator).__name__
        error.add_note(f"{name} was fitted to class {label!r}, which has {len(X)} samples")
        raise


def _check_log_density(values: np.ndarray, n_samples: int, label: Any, model: Any) -> None:
    """Check what a density model computed: one number per sample, below infinity."""
    if values.shape == (n_samples,) and (values < np.inf).all():
        return
    got = f"shape {values.shape}" if values.shape != (n_samples,) else "NaN or infinity"
    raise ValueError(
        f"score_samples of {model!r}, fitted to class {label!r}, must return one log-density per "
        f"sample, ({n_samples},), below infinity, got {got}: take another density model, or other "
        "parameters of this one"
    )
