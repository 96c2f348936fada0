"""What can be X: one protocol, and the sources of samples behind it."""

from sklearn_densconf.features.inputs._choice import Reading, open_source
from sklearn_densconf.features.inputs._source import Batch, Preprocessing, Source

__all__ = ["Batch", "Preprocessing", "Reading", "Source", "open_source"]
