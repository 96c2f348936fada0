"""Networks that cannot be copied, for tests: other processes build them by these functions."""

import threading
import warnings

import torch
from networks import Convolutional
from torch import nn


class Locked(nn.Module):
    """A network that holds a lock."""

    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()
        self.inner = Convolutional()

    def forward(self, X):
        with self.lock:
            return self.inner(X)


def scripted():
    """Build a TorchScript program."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        return torch.jit.trace(Convolutional().eval(), torch.rand(2, 1, 12, 12))


def locked():
    """Build a network with a lock."""
    return Locked()


class Lambda(nn.Module):
    """A network with a local function."""

    def __init__(self, function):
        super().__init__()
        self.inner, self.function = Convolutional(), function

    def forward(self, X):
        return self.inner(self.function(X))


def local():
    """Build a network that can be copied, but not pickled."""
    return Lambda(lambda X: X)
