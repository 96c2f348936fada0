"""What can be X: one protocol, and the sources of samples behind it."""

from sklearn_densconf.features.inputs._batch import Batch, Named, Ragged
from sklearn_densconf.features.inputs._choice import Reading, open_source
from sklearn_densconf.features.inputs._source import Preprocessing, Source

__all__ = ["Batch", "Named", "Preprocessing", "Ragged", "Reading", "Source", "open_source"]
