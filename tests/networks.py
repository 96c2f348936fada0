"""Small networks for tests, imported by name: other processes must find their classes too."""

import os
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional


class Convolutional(nn.Module):
    """Two convolutions with batch norm, a head of two layers, dropout, and an in-place ReLU."""

    def __init__(self, n_classes=5, n_channels=1, seed=0):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.body = nn.Sequential(
                nn.Conv2d(n_channels, 4, 3),
                nn.BatchNorm2d(4),
                nn.ReLU(inplace=True),
                nn.Conv2d(4, 6, 3),
                nn.ReLU(inplace=True),
            )
            self.drop = nn.Dropout(0.5)
            self.hidden = nn.Linear(6, 8)
            self.head = nn.Linear(8, n_classes)

    def forward(self, X):
        X = self.body(X).mean((2, 3))
        return self.head(functional.relu(self.hidden(self.drop(X))))


class Logging(nn.Module):
    """A linear layer that writes a line a batch to a file: process, rows, threads of torch.

    The batch in which `fit` looks whether samples depend on each other counts as no rows.
    """

    def __init__(self, log, n_in=64, n_out=10, seed=0):
        super().__init__()
        self.log = str(log)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.linear = nn.Linear(n_in, n_out)

    def forward(self, X):
        is_looked_at = len(X) == 4 and torch.equal(X[0], 1 - 4 * X[1])
        rows = 0 if is_looked_at else len(X)
        with open(self.log, "a") as file:
            file.write(f"{os.getpid()} {rows} {torch.get_num_threads()}\n")
        return self.linear(X.flatten(1))


def passes(log):
    """Give what `Logging` networks wrote: (process, rows, threads) of each batch."""
    path = Path(log)
    lines = path.read_text().splitlines() if path.exists() else []
    return [tuple(map(int, line.split())) for line in lines]


def rows_passed(log):
    """Count the samples that passed through `Logging` networks."""
    return sum(rows for _, rows, _ in passes(log))


class Columns(nn.Module):
    """Weights times the columns' mean, for any number of columns."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, 0.5, -0.25, 2.0]))

    def forward(self, X):
        return X.mean(1, keepdim=True) * self.weight


def columns():
    """Build `Columns`."""
    return Columns()


def ignore(_module, _inputs, _output):
    """Do nothing: a forward hook."""


class FirstColumn(nn.Module):
    """One number a sample, without an axis for it."""

    def forward(self, X):
        return X[:, 0]


class Doubling(nn.Module):
    """Twice the input."""

    def forward(self, X):
        return 2 * X


class Shift:
    """A preprocessing that holds a tensor."""

    def __init__(self, shift):
        self.shift = shift

    def __call__(self, picture):
        return picture + self.shift


class OutOfOrder(nn.Module):
    """Two linear layers; the one defined first runs last."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(5, 3), nn.Linear(144, 5)

    def forward(self, X):
        return self.first(self.last(X))


class Recurrent(nn.Module):
    """One linear layer, called twice."""

    def __init__(self):
        super().__init__()
        self.step = nn.Linear(144, 144)

    def forward(self, X):
        return self.step(self.step(X).tanh())


class ByKeyword(nn.Module):
    """A head that is given its input by name, and an in-place change of that input afterwards."""

    def __init__(self):
        super().__init__()
        self.hidden, self.head = nn.Linear(144, 4), nn.Linear(4, 2)

    def forward(self, X):
        hidden = self.hidden(X)
        logits = self.head(input=hidden)
        hidden.zero_()
        return logits


def build():
    """Build a network, for 'networks:build'."""
    return Convolutional()


def halved(picture):
    """Preprocess a picture."""
    return picture / 2
