"""DriftMonitor: a stream of scores against those it should be like. Imports no torch."""

import copy
import math
from numbers import Integral
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state, check_scalar
from sklearn.utils.validation import check_is_fitted

from sklearn_densconf._array import to_numpy
from sklearn_densconf._validation import check_number, check_option
from sklearn_densconf.monitoring._capital import DIRECTIONS, grow, log_gains, n_bets
from sklearn_densconf.monitoring._history import extended
from sklearn_densconf.monitoring._text import from_text, to_text
from sklearn_densconf.monitoring._urn import bins_of, cut, intervals

_CHUNK = 4096  # scores: some megabytes at a time


class DriftMonitor(BaseEstimator):
    r"""Watches a stream of scores, and raises an alarm when they are not what they were.

    It is fitted to the scores of held-out pictures, and then sees those of a stream, one by one or
    many at a time: ``score_samples``, the confidence, or any other number per picture. A capital of
    one is bet against "the held-out pictures and the stream are exchangeable" (a conformal test
    martingale), and the alarm comes when it has grown to 1 / ``false_alarm_rate``. By Ville's
    inequality, for scores of any distribution,

    .. math:: P(\text{an alarm, ever} \mid \text{nothing changes}) \le \text{false alarm rate},

    over the whole stream, however long it is and however often one looks. The probability is over
    the draw of the held-out pictures too: there may be few of them. For that to be exact, a score
    is ranked among all that came before it, those of the stream included; a drift so slow that it
    becomes the habit goes unseen, and so does one that leaves the ranks of the scores as they are.

    By default the bets are that scores fall, since that is what strange pictures do to a
    confidence. An alarm says that they did, not why: noise, another camera, harder pictures,
    unknown classes, or the same pictures in another order. Pictures sorted by class are not
    exchangeable.

    Parameters
    ----------
    false_alarm_rate : float, default=0.01
        Probability, in (0, 1), that a stream in which nothing changes ever raises an alarm.
    direction : {"fall", "rise", "both"}, default="fall"
        What is bet on: that scores fall, that they rise, or half of the capital on each.
    random_state : int, RandomState or None, default=None
        Order of equal scores.

    Attributes
    ----------
    alarm_ : bool
        Whether there has been an alarm; it stays.
    alarm_at_ : int or None
        Number of scores that had been seen then.
    p_value_ : float
        The smallest rate at which there would have been an alarm, in (0, 1]; valid at any time.
    log_evidence_ : float
        Logarithm of the capital, in nats.
    log_peak_ : float
        The highest that it has been.
    n_seen_ : int
        Number of scores of the stream.
    n_calibration_ : int
        Number of held-out scores.
    share_ : float
        The part of the whole that this monitor is, after `split`; else 1.
    history_ : ndarray of shape (at most 256,)
        The highest log-evidence in each stretch of ``stride_`` scores, since `fit`, `split` or
        `merge`.
    n_history_ : int
        Number of scores that the history covers.
    stride_ : int
        Length of a stretch. It doubles where needed: the state is some kilobytes, however long the
        stream is.

    See Also
    --------
    sklearn_densconf.displays.DriftDisplay : Draws the evidence along the stream.
    sklearn_densconf.ConformalRejector : Withholds single labels.

    References
    ----------
    V. Vovk, I. Nouretdinov, A. Gammerman, "Testing Exchangeability On-Line", ICML 2003 (conformal
    martingales and power bets; there p-values are smoothed at random, here a bet is on a bin of
    ranks, which leaves only the order of equal scores to chance). J. Ville, "Étude critique de la
    notion de collectif", 1939.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_densconf.monitoring import DriftMonitor
    >>> random = np.random.default_rng(0)
    >>> monitor = DriftMonitor(random_state=0).fit(random.normal(size=1000))
    >>> monitor.update(random.normal(size=5000)).alarm_
    False
    >>> monitor.update(random.normal(size=200) - 1).alarm_
    True
    """

    alarm_at_: int | None
    history_: np.ndarray
    n_history_: int
    n_seen_: int
    stride_: int
    _base: np.ndarray
    _counts: np.ndarray
    _log_active: np.ndarray
    _log_asleep: float
    _n_drawn: int
    _parts: list[int]

    def __init__(
        self,
        *,
        false_alarm_rate: float = 0.01,
        direction: str = "fall",
        random_state: Any = None,
    ) -> None:
        self.false_alarm_rate = false_alarm_rate
        self.direction = direction
        self.random_state = random_state

    def fit(self, scores: Any, y: Any = None) -> Self:  # noqa: ARG002 - scikit-learn's signature
        """Learn what the scores should be like.

        Parameters
        ----------
        scores : array-like of shape (n_scores,)
            Scores of pictures that neither the network nor the density was fitted to, in any order.
        y : None
            Ignored.

        Returns
        -------
        DriftMonitor
            Itself.

        Raises
        ------
        ValueError
            If there is no score, one is NaN, or a parameter is out of its range.
        """
        rate = self.false_alarm_rate
        check_number("false_alarm_rate", rate, lambda a: 0 < a < 1, "a float in (0, 1)")
        check_option("direction", self.direction, DIRECTIONS)
        scores = _checked(scores)
        if not len(scores):
            raise ValueError("scores is empty: fit to the scores of held-out pictures")
        self._seed = int(check_random_state(self.random_state).randint(2**31))
        self._log_threshold = -math.log(rate)
        self.n_calibration_, self.n_seen_ = len(scores), 0
        self._cuts, self._counts = cut(
            scores, np.random.default_rng(self._seed).random(len(scores))
        )
        self._log_asleep, self._log_active = 0.0, np.full(n_bets(self.direction), -np.inf)
        self.log_peak_, self.alarm_at_ = 0.0, None
        self._begin_round(1, 1, [0])
        return self

    def update(self, scores: Any) -> Self:
        """See the next scores of the stream.

        Parameters
        ----------
        scores : array-like of shape (n_scores,), or float
            Scores in the order of the stream.

        Returns
        -------
        DriftMonitor
            Itself.

        Raises
        ------
        ValueError
            If a score is NaN; then none of them has been seen.
        """
        check_is_fitted(self)
        scores = _checked(scores)
        for start in range(0, len(scores), _CHUNK):
            self._see(scores[start : start + _CHUNK])
        return self

    def split(self, n: int) -> list[Self]:
        """Return monitors for several streams or workers, each with its part of the capital.

        The probability that any of them ever raises an alarm is at most ``false_alarm_rate``, if
        nothing changes, and whether the streams depend on each other or not.

        Parameters
        ----------
        n : int
            Number of monitors.

        Returns
        -------
        list of DriftMonitor
            The parts, which take the place of this monitor.

        Raises
        ------
        ValueError
            If this monitor is itself a part.
        """
        check_is_fitted(self)
        check_scalar(n, "n", Integral, min_val=1)
        if self.share_ < 1:
            raise ValueError(
                f"split needs a whole monitor, got parts {self._parts} of {self._n_parts}: merge "
                "all of them first"
            )
        parts = [copy.deepcopy(self) for _ in range(n)]
        for number, part in enumerate(parts):
            part._log_asleep -= math.log(n)
            part._log_active -= math.log(n)
            part._begin_round(self._round + 1, n, [number])
        return parts

    def merge(self, other: "DriftMonitor") -> Self:
        """Join another part of the same monitor to this one, which then goes on with both streams.

        Capital is added to capital, and scores to scores; the order of merging does not matter, and
        an alarm of one stays an alarm. All parts that are merged again are the whole, which can be
        split again: the rate holds for all of it together, if times are set without looking at the
        scores, every hour for instance.

        Parameters
        ----------
        other : DriftMonitor
            Another part from the same `split`. It is not changed, and must see no more scores.

        Returns
        -------
        DriftMonitor
            Itself.

        Raises
        ------
        ValueError
            If they are not parts from one split, or have a part in common.
        """
        check_is_fitted(self)
        check_is_fitted(other)
        self._check_part(other)
        if min(other._parts) < min(self._parts):  # so that the order of merging does not matter
            self._n_drawn = other._n_drawn
        self._counts = self._counts + other._counts - self._base
        self.n_seen_ += other.n_seen_ - self._n_base()
        self._log_asleep = float(np.logaddexp(self._log_asleep, other._log_asleep))
        self._log_active = np.logaddexp(self._log_active, other._log_active)
        self.alarm_at_ = min((at for at in (self.alarm_at_, other.alarm_at_) if at), default=None)
        self._parts = sorted(self._parts + other._parts)
        self._forget_history()
        self._rise(max(self.log_peak_, other.log_peak_, self.log_evidence_), self.n_seen_)
        return self

    def to_json(self) -> str:
        """Return the whole state as JSON.

        Returns
        -------
        str
            Some kilobytes, however long the stream was.
        """
        check_is_fitted(self)
        return to_text(self)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Return the monitor that `to_json` wrote, which goes on as if it had not been away.

        Parameters
        ----------
        text : str or bytes
            JSON.

        Returns
        -------
        DriftMonitor
            The monitor.

        Raises
        ------
        ValueError
            If it is no monitor, or of a newer version.
        """
        return from_text(cls, text)

    @property
    def alarm_(self) -> bool:
        """Whether there has been an alarm."""
        return self.alarm_at_ is not None

    @property
    def p_value_(self) -> float:
        """The smallest rate at which there would have been an alarm."""
        return math.exp(min(-self.log_peak_, 0.0))

    @property
    def log_evidence_(self) -> float:
        """Logarithm of the capital."""
        return float(np.logaddexp(self._log_asleep, np.logaddexp.reduce(self._log_active)))

    @property
    def share_(self) -> float:
        """The part of the whole that this monitor is."""
        return len(self._parts) / self._n_parts

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "n_seen_")

    def _see(self, scores: np.ndarray) -> None:
        """See some scores, none of which is NaN, at least one."""
        bins = bins_of(scores, self._draw(len(scores)), self._cuts)
        gains = log_gains(*intervals(bins, self._counts), self.direction)
        asleep, active = grow(self._log_asleep, self._log_active, gains, self.n_seen_)
        evidence = np.logaddexp(asleep, np.logaddexp.reduce(active))
        self._counts = self._counts + np.bincount(bins, minlength=len(self._counts))
        self._log_asleep, self._log_active = float(asleep[-1]), active[:, -1].copy()
        self.history_, self.stride_ = extended(
            self.history_, self.stride_, self.n_history_, evidence
        )
        self.n_history_ += len(scores)
        first = int((evidence >= self._log_threshold).argmax())
        self._rise(float(evidence.max()), self.n_seen_ + first + 1)
        self.n_seen_ += len(scores)

    def _draw(self, n: int) -> np.ndarray:
        """Return the order of equal scores, other numbers in each part."""
        bits = np.random.PCG64([self._seed, self._round, min(self._parts)])
        bits.advance(self._n_drawn)
        self._n_drawn += n
        return np.random.Generator(bits).random(n)

    def _rise(self, log_peak: float, n_seen: int) -> None:
        """Note a peak, and the alarm if it is one and the first."""
        self.log_peak_ = max(self.log_peak_, log_peak)
        if self.alarm_at_ is None and log_peak >= self._log_threshold:
            self.alarm_at_ = n_seen

    def _begin_round(self, number: int, n_parts: int, parts: list[int]) -> None:
        """Become a part of what there is now; `merge` adds only what parts see from now on."""
        self._round, self._n_parts, self._parts, self._n_drawn = number, n_parts, parts, 0
        self._base = self._counts
        self._forget_history()

    def _forget_history(self) -> None:
        self.history_, self.stride_, self.n_history_ = np.zeros(0), 1, 0

    def _n_base(self) -> int:
        return int(self._base.sum()) - self.n_calibration_ - 1

    def _check_part(self, other: "DriftMonitor") -> None:
        same = all(
            np.array_equal(getattr(self, name), getattr(other, name))
            for name in ("_seed", "_round", "_n_parts", "_cuts", "_base", "direction")
        )
        if not same:
            raise ValueError(
                "merge needs parts from one split, got monitors that were fitted or split apart: "
                "fit one, and split it for the streams"
            )
        if both := sorted({*self._parts} & {*other._parts}):
            raise ValueError(
                f"merge needs different parts, got both with {both}: split one for every stream "
                "instead of copying it, or the rate of false alarms would grow"
            )


def _checked(scores: Any) -> np.ndarray:
    """Return scores as float64 (n,); refuse what cannot be ordered."""
    values = np.asarray(to_numpy(scores) if hasattr(scores, "shape") else scores)
    if values.ndim > 1 or values.dtype.kind not in "biuf":
        raise ValueError(
            "scores must be one number per picture, got an array of shape "
            f"{values.shape} and type {values.dtype}: pass score_samples(X), for instance"
        )
    values = np.atleast_1d(values).astype(np.float64)
    if (wrong := np.isnan(values)).any():
        raise ValueError(
            f"scores must be numbers, got NaN at {int(wrong.argmax())}: look at that picture, or "
            "leave it out"
        )
    return values
