"""Networks as people write them with torch alone: for signals, series and tables."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrizations

from ._entry import N_SAMPLES, Entry, Place, normal

K = 7  # classes
OUTPUT, HEAD = Place(""), Place("head")


class Recurrent(nn.Module):
    """A recurrent layer over time, and a head on its last state."""

    def __init__(self, layer: Callable[..., nn.Module], width: int, **parameters: bool) -> None:
        super().__init__()
        self.layer = layer(5, 16, num_layers=2, batch_first=True, **parameters)
        self.head = nn.Linear(width, K)

    def forward(self, X: torch.Tensor) -> torch.Tensor:  # (n, time, 5)
        states, _ = self.layer(X)
        return self.head(states[:, -1])


class Causal(nn.Module):
    """A dilated convolution that sees the past only, with weight norm, beside a shortcut."""

    def __init__(self, n_in: int, n_out: int, dilation: int) -> None:
        super().__init__()
        self.pad = nn.ConstantPad1d((2 * dilation, 0), 0.0)
        convolution = nn.Conv1d(n_in, n_out, 3, dilation=dilation)
        self.convolution = parametrizations.weight_norm(convolution)
        self.shortcut = nn.Conv1d(n_in, n_out, 1)
        self.drop = nn.Dropout(0.2)

    def forward(self, X: torch.Tensor) -> torch.Tensor:  # (n, n_in, time)
        return torch.relu(self.drop(self.convolution(self.pad(X))) + self.shortcut(X))


class TemporalConvolutional(nn.Module):
    """A temporal convolutional network (TCN)."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Causal(5, 16, 1), Causal(16, 16, 2), Causal(16, 16, 4))
        self.head = nn.Linear(16, K)

    def forward(self, X: torch.Tensor) -> torch.Tensor:  # (n, 5, time)
        return self.head(self.blocks(X)[..., -1])


class Encoder(nn.Module):
    """torch's transformer over a series, averaged over time."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Linear(5, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, K)

    def forward(self, X: torch.Tensor) -> torch.Tensor:  # (n, time, 5)
        return self.head(self.encoder(self.embedding(X)).mean(1))


class TabularResidual(nn.Module):
    """A residual network of a table: BatchNorm, two linear layers, a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 16)
        self.norm = nn.BatchNorm1d(16)
        self.block = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 16))
        self.head = nn.Linear(16, K)

    def forward(self, X: torch.Tensor) -> torch.Tensor:  # (n, 6)
        hidden = self.first(X)
        return self.head(torch.relu(hidden + self.block(self.norm(hidden))))


class FTTransformer(nn.Module):
    """A transformer of a table whose columns, numbers and categories, are tokens.

    References: Gorishniy et al., "Revisiting Deep Learning Models for Tabular Data",
    arXiv:2106.11959, section 3.3.
    """

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.randn(6, 16))
        self.offset = nn.Parameter(torch.randn(6, 16))
        self.categories = nn.Embedding(12, 16)  # three columns of four categories each
        self.cls = nn.Parameter(torch.randn(16))
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, K)

    def forward(self, numbers: torch.Tensor, categories: torch.Tensor) -> torch.Tensor:
        columns = numbers[:, :, None] * self.slope + self.offset  # (n, 6, 16)
        chosen = self.categories(categories + 4 * torch.arange(3))  # (n, 3, 16)
        cls = self.cls.expand(len(numbers), 1, 16)
        tokens = self.encoder(torch.cat([cls, columns, chosen], 1))
        return self.head(torch.relu(self.norm(tokens[:, 0])))


def _table() -> dict[str, np.ndarray]:
    categories = np.random.default_rng(1).integers(0, 4, (N_SAMPLES, 3))
    return {"numbers": normal(6), "categories": categories}


def _series() -> np.ndarray:
    return normal(20, 5)


def _mlp() -> nn.Module:
    body = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2))
    return nn.Sequential(body, nn.Linear(16, 16), nn.ReLU(inplace=True), nn.Linear(16, K))


def _convolutions() -> nn.Module:
    layers = [
        nn.Conv1d(5, 8, 3),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.MaxPool1d(2),
        nn.Conv1d(8, 16, 3),
    ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(16, K))


ENTRIES = [
    Entry("MLP of a table", _mlp, lambda: normal(6), OUTPUT, Place("3"), Place("1")),
    Entry(
        "residual network of a table",
        TabularResidual,
        lambda: normal(6),
        OUTPUT,
        HEAD,
        Place("block.1"),
    ),
    Entry("FT-Transformer of a table", FTTransformer, _table, OUTPUT, HEAD, Place("norm")),
    Entry(
        "LSTM",
        lambda: Recurrent(nn.LSTM, 16),
        _series,
        OUTPUT,
        HEAD,
        Place("layer", "last"),
    ),
    Entry(
        "GRU in both directions",
        lambda: Recurrent(nn.GRU, 32, bidirectional=True),
        _series,
        OUTPUT,
        HEAD,
        Place("layer", "last"),
    ),
    Entry(
        "TCN with weight norm",
        TemporalConvolutional,
        lambda: normal(5, 20),
        OUTPUT,
        HEAD,
        Place("blocks.1", "first"),
    ),
    Entry("1-d CNN", _convolutions, lambda: normal(5, 20), OUTPUT, Place("7"), Place("3", "first")),
    Entry(
        "torch.nn.TransformerEncoder",
        Encoder,
        _series,
        OUTPUT,
        HEAD,
        Place("encoder.layers.0", "last"),
    ),
]
