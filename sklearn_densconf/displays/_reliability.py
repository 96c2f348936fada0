"""Reliability of the confidence of predicted labels: are those with 0.8 right 8 times in 10?"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sklearn_densconf.displays._style import (
    QUIET,
    _close_axes,
    _label,
    _name_estimator,
    _open_axes,
)
from sklearn_densconf.metrics import (
    expected_calibration_error,
    reliability_curve,
)
from sklearn_densconf.metrics._predictions import _predict_outcomes

_DIAGONAL = "right as often as confident"
_AREA = 250  # points squared, of the disc that holds all predictions


class ReliabilityDisplay:
    """Accuracy against confidence, in bins; discs show how many predictions each bin holds.

    Below the diagonal the confidence is too large, above it too small. The curve is that of the
    predicted label, among any number of classes; :class:`sklearn.calibration.CalibrationDisplay`
    draws the probability of one of two classes.

    Parameters
    ----------
    confidence : ndarray of shape (n_filled_bins,)
        Mean confidence in each bin.
    accuracy : ndarray of shape (n_filled_bins,)
        Fraction of right labels in each bin.
    n_samples : ndarray of shape (n_filled_bins,)
        Number of predictions in each bin.
    calibration_error : float, default=None
        Expected calibration error (ECE), shown in the legend.
    name : str, default=None
        Name of the confidence, shown in the legend.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the curve.
    figure_ : matplotlib Figure
        Figure with the axes.
    line_ : matplotlib Line2D
        The curve.
    discs_ : matplotlib PathCollection
        One disc for each bin; its area is the share of the predictions.

    Examples
    --------
    >>> from sklearn_densconf.displays import ReliabilityDisplay
    >>> display = ReliabilityDisplay.from_predictions([True, False], [0.9, 0.9], name="softmax")
    >>> display.line_.get_label()
    'softmax (ECE = 0.4)'
    """

    def __init__(
        self,
        *,
        confidence: np.ndarray,
        accuracy: np.ndarray,
        n_samples: np.ndarray,
        calibration_error: float | None = None,
        name: str | None = None,
    ) -> None:
        self.confidence = confidence
        self.accuracy = accuracy
        self.n_samples = n_samples
        self.calibration_error = calibration_error
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike,
        *,
        n_bins: int | str = 15,
        strategy: str = "uniform",
        name: str | None = None,
        ax: Any = None,
        **line_kwargs: Any,
    ) -> "ReliabilityDisplay":
        """Draw the reliability of a fitted classifier.

        Parameters
        ----------
        estimator : estimator
            Fitted classifier with ``predict_proba``, or a Pipeline that ends in one.
        X : array-like or list of length n_samples
            What the estimator takes: arrays, paths, pictures.
        y : array-like of shape (n_samples,)
            True labels.
        n_bins : int or "cube_root", default=15
            Number of bins; "cube_root" is the cube root of ``n_samples``, rounded up.
        strategy : {"uniform", "quantile"}, default="uniform"
            Bins of equal width in [0, 1], or with equally many predictions.
        name : str, default=None
            Name in the legend; by default the class, for a Pipeline that of the last step.
        ax : matplotlib Axes, default=None
            Axes to draw on; by default new ones.
        **line_kwargs : dict
            Passed to matplotlib's ``plot``.

        Returns
        -------
        ReliabilityDisplay
            The display, drawn.
        """
        return cls.from_predictions(
            *_predict_outcomes(estimator, X, y),
            n_bins=n_bins,
            strategy=strategy,
            name=name or _name_estimator(estimator),
            ax=ax,
            **line_kwargs,
        )

    @classmethod
    def from_predictions(
        cls,
        correct: ArrayLike,
        confidence: ArrayLike,
        *,
        n_bins: int | str = 15,
        strategy: str = "uniform",
        name: str | None = None,
        ax: Any = None,
        **line_kwargs: Any,
    ) -> "ReliabilityDisplay":
        """Draw the reliability of predictions.

        Parameters
        ----------
        correct : array-like of shape (n_samples,), bool
            Whether each predicted label is right.
        confidence : array-like of shape (n_samples,)
            Probability of the predicted label, in [0, 1].
        n_bins : int or "cube_root", default=15
            Number of bins; "cube_root" is the cube root of ``n_samples``, rounded up.
        strategy : {"uniform", "quantile"}, default="uniform"
            Bins of equal width in [0, 1], or with equally many predictions.
        name : str, default=None
            Name in the legend.
        ax : matplotlib Axes, default=None
            Axes to draw on; by default new ones.
        **line_kwargs : dict
            Passed to matplotlib's ``plot``.

        Returns
        -------
        ReliabilityDisplay
            The display, drawn.
        """
        bins: dict[str, Any] = {"n_bins": n_bins, "strategy": strategy}
        curve = reliability_curve(correct, confidence, **bins)
        error = expected_calibration_error(correct, confidence, **bins)
        return cls(**curve._asdict(), calibration_error=error, name=name).plot(ax, **line_kwargs)

    def plot(
        self, ax: Any = None, *, name: str | None = None, **line_kwargs: Any
    ) -> "ReliabilityDisplay":
        """Draw the curve, and the diagonal of a reliable confidence.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on, also those of an earlier display; by default new ones.
        name : str, default=None
            Name in the legend; by default that of the display.
        **line_kwargs : dict
            Passed to matplotlib's ``plot``.

        Returns
        -------
        ReliabilityDisplay
            The display itself.
        """
        self.ax_ = ax = _open_axes(ax, self, figsize=(4.25, 4.5))
        self.figure_ = ax.figure
        if _DIAGONAL not in ax.get_legend_handles_labels()[1]:
            ax.plot([0, 1], [0, 1], color=QUIET, linestyle=":", marker="", label=_DIAGONAL)
        label = _label(name or self.name, "ECE", self.calibration_error)
        (self.line_,) = ax.plot(
            self.confidence, self.accuracy, **{"label": label, "marker": "", **line_kwargs}
        )
        self.discs_ = ax.scatter(
            self.confidence,
            self.accuracy,
            s=_AREA * self.n_samples / np.sum(self.n_samples),
            color=self.line_.get_color(),
            clip_on=False,
        )
        ax.set_xlim(0, 1)
        ax.set_aspect("equal", adjustable="box")
        ax.set_xlabel("Mean confidence in the bin")
        ax.set_ylabel("Accuracy in the bin")
        _close_axes(ax, 1.0)
        return self
