"""What a drift monitor has made of its capital along the stream."""

from typing import Any

import numpy as np

from sklearn_densconf.displays._style import QUIET, _close_axes, _open_axes


class DriftDisplay:
    """Evidence of a drift along a stream of scores, and where it is an alarm.

    Parameters
    ----------
    n_seen : ndarray of shape (n_stretches,)
        Number of scores at the end of each stretch of the stream.
    evidence : ndarray of shape (n_stretches,)
        Decimal logarithm of the highest capital in each.
    threshold : float
        Decimal logarithm of the capital at which there is an alarm.
    alarm_at : int or None, default=None
        Number of scores that had been seen at the alarm.
    name : str, default=None
        Name of the stream, shown in the legend.

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
    >>> import numpy as np
    >>> from sklearn_densconf.displays import DriftDisplay
    >>> from sklearn_densconf.monitoring import DriftMonitor
    >>> random = np.random.default_rng(0)
    >>> monitor = DriftMonitor(random_state=0).fit(random.normal(size=1000))
    >>> monitor = monitor.update(random.normal(size=500)).update(random.normal(size=100) - 1)
    >>> DriftDisplay.from_monitor(monitor).n_seen[-1]
    np.int64(600)
    """

    def __init__(
        self,
        *,
        n_seen: np.ndarray,
        evidence: np.ndarray,
        threshold: float,
        alarm_at: int | None = None,
        name: str | None = None,
    ) -> None:
        self.n_seen = n_seen
        self.evidence = evidence
        self.threshold = threshold
        self.alarm_at = alarm_at
        self.name = name

    @classmethod
    def from_monitor(
        cls, monitor: Any, *, name: str | None = None, ax: Any = None, **line_kwargs: Any
    ) -> "DriftDisplay":
        """Draw what a monitor has seen since it was fitted, split or merged.

        Parameters
        ----------
        monitor : DriftMonitor
            Fitted.
        name : str, default=None
            Name in the legend.
        ax : matplotlib Axes, default=None
            Axes to draw on; by default new ones.
        **line_kwargs : dict
            Passed to matplotlib's ``plot``.

        Returns
        -------
        DriftDisplay
            The display, drawn.
        """
        ends = np.arange(1, len(monitor.history_) + 1) * monitor.stride_
        before = monitor.n_seen_ - monitor.n_history_
        display = cls(
            n_seen=before + np.minimum(ends, monitor.n_history_),
            evidence=monitor.history_ / np.log(10),
            threshold=float(-np.log10(monitor.false_alarm_rate)),
            alarm_at=monitor.alarm_at_,
            name=name,
        )
        return display.plot(ax, **line_kwargs)

    def plot(
        self, ax: Any = None, *, name: str | None = None, **line_kwargs: Any
    ) -> "DriftDisplay":
        """Draw the curve, the threshold, and the alarm if there was one.

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
        DriftDisplay
            The display itself.
        """
        self.ax_ = ax = _open_axes(ax, self, figsize=(6, 3.75))
        self.figure_ = ax.figure
        style = {"label": name or self.name or "evidence", "marker": "", **line_kwargs}
        (self.line_,) = ax.plot(self.n_seen, self.evidence, **style)
        ax.axhline(self.threshold, color=QUIET, linestyle=":", label="threshold of the alarm")
        if self.alarm_at is not None:
            label = f"alarm after {self.alarm_at:,} pictures"
            ax.axvline(self.alarm_at, color=QUIET, linestyle="--", linewidth=1, label=label)
        ax.set_xlabel("Pictures seen")
        ax.set_ylabel("log₁₀ of the capital")
        _close_axes(ax, max(self.evidence.max(initial=0), self.threshold))
        ax.set_ylim(bottom=min(0.0, self.evidence.min(initial=0)))
        return self
