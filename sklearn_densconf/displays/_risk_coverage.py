"""Risk against coverage: what is gained by rejecting the least confident predictions."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sklearn_densconf.displays._style import _close_axes, _label, _name_estimator, _open_axes
from sklearn_densconf.metrics import area_under_risk_coverage, risk_coverage_curve
from sklearn_densconf.metrics._predictions import _predict_ranked


class RiskCoverageDisplay:
    """Error rate of the most confident predictions, against the fraction of them that is kept.

    Parameters
    ----------
    coverage : ndarray of shape (n_samples,)
        Fraction of the predictions kept.
    risk : ndarray of shape (n_samples,)
        Fraction of wrong labels among those kept.
    area : float, default=None
        Area under the curve (AURC), shown in the legend.
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

    Examples
    --------
    >>> from sklearn_densconf.displays import RiskCoverageDisplay
    >>> display = RiskCoverageDisplay.from_predictions([True, True, False], [0.9, 0.8, 0.3])
    >>> display.line_.get_label()
    'AURC = 0.111'
    """

    def __init__(
        self,
        *,
        coverage: np.ndarray,
        risk: np.ndarray,
        area: float | None = None,
        name: str | None = None,
    ) -> None:
        self.coverage = coverage
        self.risk = risk
        self.area = area
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike,
        *,
        name: str | None = None,
        ax: Any = None,
        **line_kwargs: Any,
    ) -> "RiskCoverageDisplay":
        """Draw the risk of a fitted classifier's labels, ordered by its confidence.

        Parameters
        ----------
        estimator : estimator
            Fitted classifier with ``predict_proba``, or a Pipeline that ends in one.
        X : array-like or list of length n_samples
            What the estimator takes: arrays, paths, pictures.
        y : array-like of shape (n_samples,)
            True labels.
        name : str, default=None
            Name in the legend; by default the class, for a Pipeline that of the last step.
        ax : matplotlib Axes, default=None
            Axes to draw on; by default new ones.
        **line_kwargs : dict
            Passed to matplotlib's ``plot``.

        Returns
        -------
        RiskCoverageDisplay
            The display, drawn.
        """
        name = name or _name_estimator(estimator)
        correct, _, score = _predict_ranked(estimator, X, y)
        return cls.from_predictions(correct, score, name=name, ax=ax, **line_kwargs)

    @classmethod
    def from_predictions(
        cls,
        correct: ArrayLike,
        confidence: ArrayLike,
        *,
        name: str | None = None,
        ax: Any = None,
        **line_kwargs: Any,
    ) -> "RiskCoverageDisplay":
        """Draw the risk of predictions, ordered by their confidence.

        Parameters
        ----------
        correct : array-like of shape (n_samples,), bool
            Whether each predicted label is right.
        confidence : array-like of shape (n_samples,)
            Any score that is larger where the label is more certain; -inf and inf are scores too.
        name : str, default=None
            Name in the legend.
        ax : matplotlib Axes, default=None
            Axes to draw on; by default new ones.
        **line_kwargs : dict
            Passed to matplotlib's ``plot``.

        Returns
        -------
        RiskCoverageDisplay
            The display, drawn.
        """
        curve = risk_coverage_curve(correct, confidence)
        area = area_under_risk_coverage(correct, confidence)
        display = cls(coverage=curve.coverage, risk=curve.risk, area=area, name=name)
        return display.plot(ax, **line_kwargs)

    def plot(
        self, ax: Any = None, *, name: str | None = None, **line_kwargs: Any
    ) -> "RiskCoverageDisplay":
        """Draw the curve.

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
        RiskCoverageDisplay
            The display itself.
        """
        self.ax_ = ax = _open_axes(ax, self, figsize=(5, 3.75))
        self.figure_ = ax.figure
        label = _label(name or self.name, "AURC", self.area)
        (self.line_,) = ax.plot(
            self.coverage, self.risk, **{"label": label, "marker": "", **line_kwargs}
        )
        ax.set_xlim(0, 1)
        ax.set_xlabel("Coverage (fraction of predictions kept)")
        ax.set_ylabel("Risk (error rate of those kept)")
        _close_axes(ax, ax.dataLim.y1 or 1)
        return self
