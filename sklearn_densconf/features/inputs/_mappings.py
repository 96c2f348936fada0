"""Mappings of arrays, such as a tokenizer gives: several inputs of one network."""

from collections.abc import Mapping
from typing import Any

from sklearn_densconf.features.inputs._source import Source


def open_mapping(arrays: Mapping[str, Any]) -> Source:
    """Refuse arrays by name, whose first axis is the sample."""
    raise TypeError(
        f"X is a mapping of {sorted(map(str, arrays))}, which is not supported: give one array"
    )
