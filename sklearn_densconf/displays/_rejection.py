"""Promised against measured: what a conformal rejector rejects of each class."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_consistent_length

from sklearn_densconf.displays._style import QUIET, _close_axes, _open_axes


class RejectionDisplay:
    """Share of samples that is rejected, against the share α that may be.

    Parameters
    ----------
    alpha : ndarray of shape (n_levels,)
        Shares that may be rejected.
    rejected : ndarray of shape (n_classes, n_levels)
        Shares that are, of each class.
    name : str, default=None
        Name of the rejector, shown in the legend.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the curves.
    figure_ : matplotlib Figure
        Figure with the axes.
    lines_ : list of matplotlib Line2D
        The mean over the classes, and the class of which most is rejected.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn_densconf import ConformalRejector
    >>> from sklearn_densconf.displays import RejectionDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> model = LogisticRegression(C=0.01, max_iter=1000).fit(X[:600], y[:600])
    >>> rejector = ConformalRejector(model).fit(X[600:1200], y[600:1200])
    >>> display = RejectionDisplay.from_estimator(rejector, X[1200:], y[1200:])
    >>> display.rejected.shape
    (10, 50)
    """

    def __init__(self, *, alpha: np.ndarray, rejected: np.ndarray, name: str | None = None) -> None:
        self.alpha = alpha
        self.rejected = rejected
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        rejector: Any,
        X: Any,
        y: ArrayLike,
        *,
        largest_alpha: float = 0.2,
        name: str | None = None,
        ax: Any = None,
        **line_kwargs: Any,
    ) -> "RejectionDisplay":
        """Draw what a fitted rejector would reject, for every α up to the largest.

        Parameters
        ----------
        rejector : ConformalRejector
            Fitted, with ``risk=None``.
        X : array-like or list of length n_samples
            Samples that it was not calibrated on.
        y : array-like of shape (n_samples,)
            Labels.
        largest_alpha : float, default=0.2
            The largest α, in (0, 1].
        name : str, default=None
            Name in the legend.
        ax : matplotlib Axes, default=None
            Axes to draw on; by default new ones.
        **line_kwargs : dict
            Passed to matplotlib's ``plot``.

        Returns
        -------
        RejectionDisplay
            The display, drawn.
        """
        y, p_value = np.asarray(y), rejector.p_value(X)
        check_consistent_length(y, p_value)
        alpha = np.linspace(0, largest_alpha, 50)
        rejected = [(p_value[y == label][:, None] <= alpha).mean(axis=0) for label in np.unique(y)]
        display = cls(alpha=alpha, rejected=np.array(rejected), name=name)
        return display.plot(ax, **line_kwargs)

    def plot(
        self, ax: Any = None, *, name: str | None = None, **line_kwargs: Any
    ) -> "RejectionDisplay":
        """Draw the curves, and the line on which they would lie if nothing were to spare.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; by default new ones.
        name : str, default=None
            Name in the legend; by default that of the display.
        **line_kwargs : dict
            Passed to matplotlib's ``plot``.

        Returns
        -------
        RejectionDisplay
            The display itself.
        """
        self.ax_ = ax = _open_axes(ax, self, figsize=(5, 3.75))
        self.figure_ = ax.figure
        worst = self.rejected[self.rejected.mean(axis=1).argmax()]
        prefix = f"{name or self.name}: " if name or self.name else ""
        self.lines_ = [
            ax.plot(self.alpha, shares, **{"label": prefix + label, "marker": "", **line_kwargs})[0]
            for label, shares in (("mean", self.rejected.mean(axis=0)), ("worst class", worst))
        ]
        ax.plot(self.alpha, self.alpha, color=QUIET, linestyle=":", marker="", label="promised")
        ax.set_xlim(0, self.alpha[-1])
        ax.set_xlabel("α (share of a class that may be rejected)")
        ax.set_ylabel("Share of a class that is rejected")
        _close_axes(ax, max(ax.dataLim.y1, self.alpha[-1]))
        return self
