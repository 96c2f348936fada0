"""Training LeNet-5 with softmax, the usual way (step 1 of the method)."""

from typing import Any

import numpy as np
import torch
from torch import nn

from sklearn_densconf._optional import import_optional
from sklearn_densconf.paper._networks import LeNet5

BATCH_SIZE = 64
# Without weight decay, LeNet-5's activations grow so large on strong noise that every confidence
# rises again there, the densities' too: docs/reproduction.md has both.
WEIGHT_DECAY = 2e-3
MAX_LEARNING_RATE = 0.05


def train_lenet5(
    X: np.ndarray,
    y: np.ndarray,
    *,
    epochs: int = 6,  # passes over the pictures
    weight_decay: float = WEIGHT_DECAY,  # of the L2 penalty
    seed: int = 0,  # of the initial weights and the order of the pictures
) -> LeNet5:
    """Train LeNet-5 with softmax; the same seed gives the same network on the same machine.

    X, float32 in [0, 1], has shape (n_samples, 1, 28, 28); y has labels 0 ... n_classes - 1. The
    network comes back on the CPU, in evaluation mode; torch's random state is left as it was.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        trainer = _trainer(int(y.max()) + 1, len(X), epochs, weight_decay)
        trainer.fit(X, y.astype(np.int64))
    return trainer.module_.cpu().eval()


def _trainer(n_classes: int, n_samples: int, epochs: int, weight_decay: float) -> Any:
    """Return an untrained LeNet-5 as a skorch classifier: momentum 0.9, one-cycle learning rate."""
    skorch = import_optional("skorch", "Training LeNet-5")
    callbacks = import_optional("skorch.callbacks", "Training LeNet-5")
    schedule = callbacks.LRScheduler(
        torch.optim.lr_scheduler.OneCycleLR,
        max_lr=MAX_LEARNING_RATE,
        total_steps=1 + epochs * -(-n_samples // BATCH_SIZE),
        step_every="batch",
    )
    return skorch.NeuralNetClassifier(
        LeNet5,
        module__n_classes=n_classes,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.SGD,
        optimizer__momentum=0.9,
        optimizer__weight_decay=weight_decay,
        max_epochs=epochs,
        batch_size=BATCH_SIZE,
        iterator_train__shuffle=True,
        train_split=None,
        callbacks=[("schedule", schedule)],
        device="cuda" if torch.cuda.is_available() else "cpu",
        verbose=0,
    )
