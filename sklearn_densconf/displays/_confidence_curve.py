"""Confidence against severity: figures 2 and 4 of the paper."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sklearn_densconf._array import unmasked
from sklearn_densconf.displays._style import QUIET, _close_axes, _name_estimator, _open_axes
from sklearn_densconf.metrics import ConfidenceCurve, confidence_curve


class ConfidenceCurveDisplay:
    """Mean confidence, and accuracy, against the severity of a distortion.

    Several confidences are overlaid, each with its own colour and marker; accuracy is dotted, and
    drawn once where they share it. Distortion grows to the right: the axis is reversed where the
    first, clean severity is the largest (JPEG quality).

    Parameters
    ----------
    curves : mapping of str to ConfidenceCurve
        Curve of each confidence under its name; ``accuracy`` may be None.
    severity_name : str, default="Severity"
        What the severity is, with its unit: the label of the axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the curves.
    figure_ : matplotlib Figure
        Figure with the axes.
    lines_ : dict of str to matplotlib Line2D
        Confidence of each name.
    accuracy_lines_ : list of matplotlib Line2D
        Each accuracy that differs from the others.

    References
    ----------
    A. Subramanya, S. Srinivas, R. V. Babu, "Confidence estimation in deep neural networks via
    density modelling", arXiv:1707.07013, figures 2 and 4.

    Examples
    --------
    >>> from sklearn_densconf.displays import ConfidenceCurveDisplay
    >>> display = ConfidenceCurveDisplay.from_predictions(
    ...     [0, 50, 100],
    ...     {"softmax": [0.95, 0.6, 0.59], "density": [0.44, 0.15, 0.1]},
    ...     severity_name="Noise σ (of 255)",
    ... )
    >>> [round(float(y), 2) for y in display.lines_["density"].get_ydata()]
    [1.0, 0.34, 0.23]
    """

    def __init__(
        self, *, curves: Mapping[str, ConfidenceCurve], severity_name: str = "Severity"
    ) -> None:
        self.curves = curves
        self.severity_name = severity_name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        pictures: Mapping[float, tuple[Any, ArrayLike]]
        | Iterable[tuple[float, tuple[Any, ArrayLike]]],
        *,
        name: str | None = None,
        severity_name: str = "Severity",
        ax: Any = None,
        **plot_kwargs: Any,
    ) -> "ConfidenceCurveDisplay":
        """Draw the confidence of fitted classifiers on distorted pictures.

        Parameters
        ----------
        estimator : estimator or mapping of str to estimator
            Fitted classifiers with ``predict_proba``, or Pipelines that end in one.
        pictures : mapping or iterable of pairs, severity -> (X, y)
            Pictures and true labels at each severity, the clean ones first.
        name : str, default=None
            Name of a single estimator; by default its class, for a Pipeline that of the last step.
        severity_name : str, default="Severity"
            What the severity is, with its unit: the label of the axis.
        ax : matplotlib Axes, default=None
            Axes to draw on; by default new ones.
        **plot_kwargs : dict
            Passed to :meth:`plot`.

        Returns
        -------
        ConfidenceCurveDisplay
            The display, drawn.
        """
        if not isinstance(estimator, Mapping):
            estimator = {name or _name_estimator(estimator): estimator}
        pictures = dict(pictures)  # a generator would be spent on the first estimator
        curves = {key: confidence_curve(model, pictures) for key, model in estimator.items()}
        return cls(curves=curves, severity_name=severity_name).plot(ax, **plot_kwargs)

    @classmethod
    def from_predictions(
        cls,
        severity: ArrayLike,
        confidence: ArrayLike | Mapping[str, ArrayLike],
        correct: ArrayLike | Mapping[str, ArrayLike] | None = None,
        *,
        name: str = "confidence",
        severity_name: str = "Severity",
        ax: Any = None,
        **plot_kwargs: Any,
    ) -> "ConfidenceCurveDisplay":
        """Draw confidences that were computed before.

        Parameters
        ----------
        severity : array-like of shape (n_severities,)
            Severities, the clean one first.
        confidence : array-like or mapping of str to array-like
            Confidence of the predicted labels, of shape (n_severities, n_pictures), or its means,
            of shape (n_severities,).
        correct : array-like or mapping of str to array-like, default=None
            Whether the predicted labels are right, or the fraction of them, in the same shapes. An
            array holds for every confidence.
        name : str, default="confidence"
            Name of a single confidence.
        severity_name : str, default="Severity"
            What the severity is, with its unit: the label of the axis.
        ax : matplotlib Axes, default=None
            Axes to draw on; by default new ones.
        **plot_kwargs : dict
            Passed to :meth:`plot`.

        Returns
        -------
        ConfidenceCurveDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If there is not one row, or mean, for each severity.
        """
        confidences = confidence if isinstance(confidence, Mapping) else {name: confidence}
        outcomes = correct if isinstance(correct, Mapping) else dict.fromkeys(confidences, correct)
        severities = np.asarray(unmasked(severity), dtype=np.float64)
        curves = {
            key: ConfidenceCurve(
                severities,
                _mean_rows(values, severities, f"confidence {key!r}"),
                _mean_rows(outcomes.get(key), severities, f"correct {key!r}"),
            )
            for key, values in confidences.items()
        }
        return cls(curves=curves, severity_name=severity_name).plot(ax, **plot_kwargs)

    def plot(
        self,
        ax: Any = None,
        *,
        relative: bool = True,
        plot_accuracy: bool = True,
        plot_legend: bool = True,
        **line_kwargs: Any,
    ) -> "ConfidenceCurveDisplay":
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on, also those of an earlier display; by default new ones.
        relative : bool, default=True
            Whether each confidence is divided by that of the clean pictures, as in the paper, so
            that confidences of different size can be compared.
        plot_accuracy : bool, default=True
            Whether accuracy, where it is known, is drawn too; it is never divided.
        plot_legend : bool, default=True
            Whether the axes get a legend. Panels side by side look better with one for all:
            ``figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center")``.
        **line_kwargs : dict
            Passed to matplotlib's ``plot`` for the confidences.

        Returns
        -------
        ConfidenceCurveDisplay
            The display itself.

        Raises
        ------
        ValueError
            If a confidence is to be divided by that of clean pictures which is not above 0.
        """
        if relative:
            self._check_clean()
        self.ax_ = ax = _open_axes(ax, self, figsize=(5, 3.75))
        self.figure_ = ax.figure
        self.lines_ = {}
        for name, curve in self.curves.items():
            height = curve.confidence / curve.confidence[0] if relative else curve.confidence
            (self.lines_[name],) = ax.plot(
                curve.severity, height, **{"label": name, "markersize": 5, **line_kwargs}
            )
            ax.xaxis.set_inverted(bool(curve.severity[0] > curve.severity[-1]))
        self.accuracy_lines_ = self._plot_accuracies() if plot_accuracy else []
        ax.set_xlabel(self.severity_name)
        ax.set_ylabel("Mean confidence (clean = 1)" if relative else "Mean confidence")
        _close_axes(ax, max(1.0, ax.dataLim.y1), plot_legend=plot_legend)
        return self

    def _check_clean(self) -> None:
        for name, curve in self.curves.items():
            if not 0 < (clean := curve.confidence[0]) < np.inf:
                raise ValueError(
                    f"the confidence {name!r} of clean pictures is {clean:g}, and nothing is a "
                    "fraction of that: set relative=False"
                )

    def _plot_accuracies(self) -> list[Any]:
        """Draw each accuracy once, under the names that share it."""
        sharing: dict[tuple[float, ...], list[str]] = {}
        for name, curve in self.curves.items():
            if curve.accuracy is not None:
                sharing.setdefault(tuple(curve.accuracy), []).append(name)
        lines = []
        for accuracy, names in sharing.items():
            severity, line = self.curves[names[0]].severity, self.lines_[names[0]]
            if len(sharing) == 1:
                look = {"label": "accuracy", "color": QUIET, "marker": ""}
            else:
                look = {
                    "label": f"accuracy, {', '.join(names)}",
                    "color": line.get_color(),
                    "marker": line.get_marker(),
                    "markerfacecolor": "white",
                }
            lines += self.ax_.plot(severity, accuracy, linestyle=":", markersize=4, **look)
        return lines


def _mean_rows(values: ArrayLike | None, severities: np.ndarray, name: str) -> Any:
    """Return one mean for each severity; None stays None."""
    if values is None:
        return None
    rows = np.asarray(unmasked(values), dtype=np.float64)
    if rows.ndim not in (1, 2) or len(rows) != len(severities):
        raise ValueError(
            f"{name} has shape {rows.shape}, wanted ({len(severities)},) or "
            f"({len(severities)}, n_pictures): one row for each severity"
        )
    return rows if rows.ndim == 1 else rows.mean(axis=1)
