"""Pictures side by side with their confidences below: figures 3 and 5 of the paper."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sklearn_densconf._optional import import_optional
from sklearn_densconf.displays._style import COLORS, FAINT, _name_estimator
from sklearn_densconf.metrics import predict_with_confidence

_GAP = 0.08  # between pictures, in widths of a picture
_ROW = 20  # points, for a number and the bar below it
_BAR = 3  # points


class PictureStripDisplay:
    """A strip of pictures, and under each picture every confidence as a number and a bar.

    Numbers are the confidences themselves. Bars are relative to the largest confidence of the same
    name in the strip, so that changes of a confidence near 1/1000 are visible too.

    Parameters
    ----------
    pictures : sequence of array-like
        Pictures of one size, of shape (height, width), (height, width, 1) or (height, width, 3);
        pixels 0-255 if uint8, otherwise 0-1. PIL images too.
    confidences : mapping of str to array-like of shape (n_pictures,)
        Confidence of each picture's predicted label, under the name of the confidence.
    captions : sequence of str, default=None
        What is written above each picture, such as its severity.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the strip.
    figure_ : matplotlib Figure
        Figure with the axes.
    images_ : list of matplotlib AxesImage
        One for each picture.
    bars_ : dict of str to matplotlib BarContainer
        Bars of each confidence.

    References
    ----------
    A. Subramanya, S. Srinivas, R. V. Babu, "Confidence estimation in deep neural networks via
    density modelling", arXiv:1707.07013, figures 3 and 5.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_densconf.displays import PictureStripDisplay
    >>> display = PictureStripDisplay.from_predictions(
    ...     np.zeros((2, 8, 8)), {"softmax": [0.9, 0.6]}, captions=["clean", "σ = 1"]
    ... )
    >>> [text.get_text() for text in display.ax_.texts]
    ['0.90', '0.60']
    """

    def __init__(
        self,
        *,
        pictures: Sequence[ArrayLike],
        confidences: Mapping[str, ArrayLike],
        captions: Sequence[str] | None = None,
    ) -> None:
        self.pictures = pictures
        self.confidences = confidences
        self.captions = captions

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        pictures: Sequence[ArrayLike] | None = None,
        captions: Sequence[str] | None = None,
        name: str | None = None,
        ax: Any = None,
        **image_kwargs: Any,
    ) -> "PictureStripDisplay":
        """Draw pictures with the confidence that fitted classifiers have in them.

        Parameters
        ----------
        estimator : estimator or mapping of str to estimator
            Fitted classifiers with ``predict_proba``, or Pipelines that end in one.
        X : array-like or list of length n_pictures
            What the estimators take.
        pictures : sequence of array-like, default=None
            What is shown, where that is not ``X``: rows and tensors cannot be drawn.
        captions : sequence of str, default=None
            What is written above each picture.
        name : str, default=None
            Name of a single estimator; by default its class, for a Pipeline that of the last step.
        ax : matplotlib Axes, default=None
            Axes to draw on; by default new ones.
        **image_kwargs : dict
            Passed to matplotlib's ``imshow``.

        Returns
        -------
        PictureStripDisplay
            The display, drawn.
        """
        if not isinstance(estimator, Mapping):
            estimator = {name or _name_estimator(estimator): estimator}
        confidences = {
            key: predict_with_confidence(model, X)[1] for key, model in estimator.items()
        }
        shown = X if pictures is None else pictures
        return cls.from_predictions(shown, confidences, captions=captions, ax=ax, **image_kwargs)

    @classmethod
    def from_predictions(
        cls,
        pictures: Sequence[ArrayLike],
        confidences: Mapping[str, ArrayLike],
        *,
        captions: Sequence[str] | None = None,
        ax: Any = None,
        **image_kwargs: Any,
    ) -> "PictureStripDisplay":
        """Draw pictures with confidences that were computed before.

        Parameters
        ----------
        pictures : sequence of array-like
            Pictures of one size, of shape (height, width), (height, width, 1) or
            (height, width, 3).
        confidences : mapping of str to array-like of shape (n_pictures,)
            Confidence of each picture's predicted label, under the name of the confidence.
        captions : sequence of str, default=None
            What is written above each picture.
        ax : matplotlib Axes, default=None
            Axes to draw on; by default new ones.
        **image_kwargs : dict
            Passed to matplotlib's ``imshow``.

        Returns
        -------
        PictureStripDisplay
            The display, drawn.
        """
        display = cls(pictures=pictures, confidences=confidences, captions=captions)
        return display.plot(ax, **image_kwargs)

    def plot(self, ax: Any = None, **image_kwargs: Any) -> "PictureStripDisplay":
        """Draw the strip.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; by default new ones, of a size that suits the strip.
        **image_kwargs : dict
            Passed to matplotlib's ``imshow``.

        Returns
        -------
        PictureStripDisplay
            The display itself.

        Raises
        ------
        ValueError
            If a picture has no height and width, or sizes or numbers differ.
        """
        pictures, captions = _check_pictures(self.pictures), self.captions
        confidences = _check_lengths(self.confidences, captions, len(pictures))
        aspect = pictures[0].shape[0] / pictures[0].shape[1]
        self.ax_ = ax = ax or self._new_axes(len(pictures), aspect)
        self.figure_ = ax.figure
        left = np.arange(len(pictures)) * (1 + _GAP)
        captions, names = captions or [""] * len(pictures), list(confidences)
        ax.tick_params(length=0, bottom=False, top=True, labelbottom=False, labeltop=True)
        ax.spines[:].set_visible(False)
        _label_ticks(ax, left, captions, -np.arange(len(names)), names)
        point = 1 / _points_per_width(ax, left[-1] + 1, aspect, len(confidences))
        rows = -point * _ROW * np.arange(1, len(confidences) + 1)
        self.images_ = [
            _show(ax, picture, (x, x + 1, 0, aspect), image_kwargs)
            for picture, x in zip(pictures, left, strict=True)
        ]
        self.bars_ = {
            name: _plot_row(ax, left, row, values, point=point, color=color)
            for (name, values), row, color in zip(confidences.items(), rows, cycle(COLORS))
        }
        _label_ticks(ax, left + 0.5, captions, rows + point * _ROW * 0.6, names)
        ax.set(xlim=(0, left[-1] + 1), ylim=(rows[-1], aspect), aspect="equal")
        return self

    def _new_axes(self, n_pictures: int, aspect: float) -> Any:
        pyplot = import_optional("matplotlib.pyplot", type(self).__name__)
        height = aspect + len(self.confidences) * _ROW / 72 + 0.25
        return pyplot.subplots(layout="constrained", figsize=(n_pictures + 1, height))[1]


def _check_pictures(pictures: Sequence[ArrayLike]) -> list[np.ndarray]:
    arrays = [np.asarray(picture) for picture in pictures]
    for array in arrays:
        if array.ndim not in (2, 3) or array.shape[2:] not in ((), (1,), (3,), (4,)):
            raise ValueError(
                f"a picture must have shape (height, width) or (height, width, 1 or 3), got "
                f"{array.shape}: reshape it, or move the channels to the end"
            )
    if len({array.shape[:2] for array in arrays}) != 1:
        raise ValueError(
            f"a strip needs at least one picture, all of one size, got "
            f"{sorted({array.shape[:2] for array in arrays})}: resize them"
        )
    return arrays


def _check_lengths(
    confidences: Mapping[str, ArrayLike], captions: Sequence[str] | None, n_pictures: int
) -> dict[str, np.ndarray]:
    """Check that there is one value, and one caption, per picture; return the values as arrays."""
    columns = {name: np.asarray(values, dtype=np.float64) for name, values in confidences.items()}
    lengths = {name: values.shape for name, values in columns.items()}
    if captions is not None:
        lengths["captions"] = (len(captions),)
    wrong = {name: shape for name, shape in lengths.items() if shape != (n_pictures,)}
    if wrong or not columns:
        raise ValueError(
            f"confidences and captions need one value for each of {n_pictures} pictures, got "
            f"shapes {wrong or 'of nothing'}"
        )
    return columns


def _label_ticks(
    ax: Any, x: np.ndarray, captions: Sequence[str], y: np.ndarray, names: Sequence[str]
) -> None:
    """Write captions and names as ticks, for which every layout of a figure makes room."""
    ax.set_xticks(x, labels=captions, fontsize="small")
    ax.set_yticks(y, labels=names, fontsize="small")


def _points_per_width(ax: Any, n_widths: float, aspect: float, n_rows: int) -> float:
    """Compute how many points wide a picture will be, so that rows of text fit below it."""
    ax.set_aspect("auto")  # so that the box is all the space there is
    ax.figure.canvas.figure.draw_without_rendering()
    box = ax.get_window_extent()
    width, height = (side * 72 / ax.figure.dpi for side in (box.width, box.height))
    return max(min(width / n_widths, (height - n_rows * _ROW) / aspect), 1.0)


def _show(
    ax: Any, picture: np.ndarray, extent: tuple[float, ...], image_kwargs: dict[str, Any]
) -> Any:
    high = (
        255 if picture.dtype == np.uint8 else 1
    )  # one scale for all pictures: noise in one must not dim the others
    return ax.imshow(
        picture, **{"extent": extent, "cmap": "gray", "vmin": 0, "vmax": high, **image_kwargs}
    )


def _plot_row(
    ax: Any, left: np.ndarray, bottom: float, values: np.ndarray, *, point: float, color: str
) -> Any:
    """Draw one confidence: a number under each picture, and below it a bar on a track."""
    for x, value in zip(left, values, strict=True):
        text = f"{value:.2f}" if value >= 0.01 else f"{value:.2g}"
        ax.text(x, bottom + point * (_BAR + 5), text, va="bottom", fontsize="small")
    place = {"height": point * _BAR, "left": left, "align": "edge"}
    ax.barh(bottom + point * 3, np.ones_like(left), color=FAINT, **place)
    return ax.barh(bottom + point * 3, values / (values.max() or 1), color=color, **place)
