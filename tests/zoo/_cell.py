"""What the checks found at one place in one network."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

CHECKS = {
    "refusal": "where the table says so, and nowhere else, the extractor refuses; the error names "
    "the cure, with which the other checks are made",
    "features": "equal, to 1e-5 of the largest, those of a plain hook on the user's network in "
    "evaluation mode, pooled by a rule written down for each layer",
    "untouched": "`fit` and `transform` leave the user's network as it was: weights, buffers, "
    "training flags, hooks, gradients, attributes",
    "saved": "the extractor, saved with joblib, gives the same features in another process",
    "memory": "in another process, with the network built anew, `memory` gives the same features "
    "without a forward pass",
    "workers": "two workers (`n_jobs=2`), each with half of the samples, give the same features",
}


@dataclass
class Cell:
    """What was found at one place.

    Parameters
    ----------
    refusal : str
        The error that the extractor gave where it had to refuse; "" where it had not.
    cure : mapping
        The parameters with which the checks were made then.
    results : dict of str to str
        What went wrong, by the name of the check; "" is nothing. Checks that were not reached,
        because one before them failed, are not there.
    """

    refusal: str = ""
    cure: Mapping[str, Any] = field(default_factory=dict)
    results: dict[str, str] = field(default_factory=dict)

    @property
    def faults(self) -> dict[str, str]:
        """What went wrong, by the name of the check."""
        return {check: fault for check, fault in self.results.items() if fault}

    @property
    def passes(self) -> bool:
        """Whether all checks were made, and nothing went wrong."""
        return not self.faults and set(self.results) >= set(CHECKS) - {"refusal"}

    def add(self, results: Mapping[str, str]) -> None:
        """Add what another process found."""
        for check, fault in results.items():
            self.results[check] = self.results.get(check) or fault

    @contextmanager
    def trying(self, check: str) -> Iterator[None]:
        """Note an error as a fault: what a network does to the checks ends no other check."""
        try:
            yield
            self.results.setdefault(check, "")
        except Exception as error:
            self.results[check] = said(error)


def said(error: Exception) -> str:
    """Return an error as one line, the same in every run."""
    kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
    return kind + re.sub(r" at 0x[0-9a-f]+", "", " ".join(str(error).split()))
