"""A monitor as JSON: what it has learned, in plain lists and numbers."""

import json
from typing import Any, TypeVar

import numpy as np

FORMAT = 1
_WHAT = "sklearn_densconf.monitoring.DriftMonitor"
_NUMBERS = (
    *("n_calibration_", "n_seen_", "log_peak_", "alarm_at_", "n_history_", "stride_", "_seed"),
    *("_round", "_n_parts", "_parts", "_n_drawn", "_log_threshold", "_log_asleep"),
)
_COUNTS = ("_counts", "_base")
_FLOATS = ("_log_active", "history_")  # JSON has no infinity: its name, which float() reads

Monitor = TypeVar("Monitor")


def to_text(monitor: Any) -> str:
    """Return a fitted monitor as JSON.

    Parameters
    ----------
    monitor : DriftMonitor
        Fitted.

    Returns
    -------
    str
        JSON without infinities.
    """
    seed = monitor.random_state
    state = {name: getattr(monitor, name) for name in _NUMBERS}
    state |= {name: getattr(monitor, name).tolist() for name in _COUNTS}
    state |= {name: _plain(getattr(monitor, name)) for name in _FLOATS}
    content = {
        "what": _WHAT,
        "format": FORMAT,
        "false_alarm_rate": monitor.false_alarm_rate,
        "direction": monitor.direction,
        "random_state": seed if isinstance(seed, int) else None,
        "cuts": _plain(monitor._cuts.real),
        "cuts_jitter": _plain(monitor._cuts.imag),
        "state": state,
    }
    return json.dumps(content, allow_nan=False)


def from_text(cls: type[Monitor], text: str | bytes) -> Monitor:
    """Return the monitor of a JSON text.

    Parameters
    ----------
    cls : type
        DriftMonitor.
    text : str or bytes
        From `to_text`.

    Returns
    -------
    DriftMonitor
        The monitor.

    Raises
    ------
    ValueError
        If it is no monitor, or of a newer version.
    """
    content = _parsed(text)
    try:
        state, parameters = content["state"], ("false_alarm_rate", "direction", "random_state")
        monitor: Any = cls(**{name: content[name] for name in parameters})
        for name in _NUMBERS:
            setattr(monitor, name, state[name])
        for name in _COUNTS:
            setattr(monitor, name, np.array(state[name], np.int64))
        for name in _FLOATS:
            setattr(monitor, name, np.array([float(value) for value in state[name]]))
        cuts = np.empty(len(content["cuts"]), np.complex128)
        cuts.real = [float(value) for value in content["cuts"]]
        cuts.imag = [float(value) for value in content["cuts_jitter"]]
        monitor._cuts = cuts
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"text is a damaged monitor ({error!r}): take another copy") from error
    return monitor


def _parsed(text: str | bytes) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ValueError(f"text must be JSON from to_json, got {error}") from error
    if not isinstance(content, dict) or content.get("what") != _WHAT:
        raise ValueError("text must be JSON from to_json, got JSON of something else")
    if content.get("format") != FORMAT:
        raise ValueError(
            f"text must be of format {FORMAT}, got {content.get('format')!r}, of a newer "
            "sklearn_densconf: upgrade it"
        )
    return content


def _plain(values: np.ndarray) -> list[float | str]:
    return [value if np.isfinite(value) else str(value) for value in values.tolist()]
