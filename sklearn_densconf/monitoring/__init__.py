"""Watch a stream of scores for drift, with a stated rate of false alarms."""

from sklearn_densconf.monitoring._drift_monitor import DriftMonitor

__all__ = ["DriftMonitor"]
