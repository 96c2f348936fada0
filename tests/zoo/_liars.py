"""Networks that must not pass: they show that each check finds something."""

import os
import uuid
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from ._entry import Entry, Place, normal


class Honest(nn.Module):
    """A small network with Dropout and BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Linear(8, 3)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.head(self.hidden(X))


class Drifting(Honest):
    """Gives more with every call, of whichever copy: wrong features."""

    n_calls: ClassVar[int] = 0

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        Drifting.n_calls += 1
        return super().forward(X) + Drifting.n_calls


class Meddling(Honest):
    """Its copies write to the weights of the networks that users made."""

    made: ClassVar[list[nn.Module]] = []

    def __init__(self) -> None:
        super().__init__()
        Meddling.made.append(self)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        if not any(network is self for network in Meddling.made):
            for network in Meddling.made:
                network.head.bias.data += 1
        return super().forward(X)


class Blind(Honest):
    """Gives the same for all samples, so that no check could fail."""

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return super().forward(X).mean(0, keepdim=True).expand(len(X), -1)


class Unique(Honest):
    """No two are alike, so that nothing is ever remembered."""

    def __init__(self) -> None:
        super().__init__()
        self.name = uuid.uuid4().hex


class Homesick(Honest):
    """Gives something else in another process than that which made it."""

    def __init__(self) -> None:
        super().__init__()
        self.process = os.getpid()

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return super().forward(X) + (os.getpid() != self.process)


def _sample() -> np.ndarray:
    return normal(6)


def entry(network: type[Honest], refusal: str = "") -> Entry:
    """Return the entry of one of these networks."""
    output, penultimate = Place("", refusal=refusal), Place("head")
    return Entry(network.__name__, network, _sample, output, penultimate, Place("hidden.1"))
