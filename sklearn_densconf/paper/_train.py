"""Training LeNet-5 with softmax, the usual way (step 1 of the method)."""

from typing import Any

import numpy as np
import torch
from torch import nn

from sklearn_densconf._optional import import_optional
from sklearn_densconf.paper._networks import LeNet5

EPOCHS = 6
BATCH_SIZE = 64
# Without weight decay, LeNet-5's activations grow so large on strong noise that every confidence
# rises again there, the densities' too: docs/reproduction.md has both.
WEIGHT_DECAY = 2e-3
MAX_LEARNING_RATE = 0.05


def lenet5_trainer(
    n_classes: int,
    n_samples: int,
    *,
    epochs: int = EPOCHS,
    weight_decay: float = WEIGHT_DECAY,
    verbose: int = 0,
) -> Any:
    """Give an untrained LeNet-5 as a skorch classifier: momentum 0.9, one-cycle learning rate.

    Parameters
    ----------
    n_classes : int
        Number of classes.
    n_samples : int
        Number of pictures that it will be trained on; sets the length of the cycle.
    epochs : int, default=6
        Number of passes over the pictures.
    weight_decay : float, default=2e-3
        Weight of the L2 penalty, at least 0.
    verbose : int, default=0
        1 prints a line an epoch.

    Returns
    -------
    skorch.NeuralNetClassifier
        A scikit-learn classifier of pictures of shape (n, 1, 28, 28), float32 in [0, 1], and
        integer labels 0 ... n_classes - 1. Its ``predict_proba`` is the softmax.

    Raises
    ------
    ImportError
        If skorch is not installed.
    """
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
        verbose=verbose,
    )


def train_lenet5(
    X: np.ndarray,
    y: np.ndarray,
    *,
    epochs: int = EPOCHS,
    weight_decay: float = WEIGHT_DECAY,
    seed: int = 0,
    verbose: int = 0,
) -> LeNet5:
    """Train LeNet-5 with softmax; the same seed gives the same network on the same machine.

    Parameters
    ----------
    X : ndarray of shape (n_samples, 1, 28, 28)
        Pictures, float32 in [0, 1].
    y : ndarray of shape (n_samples,)
        Labels 0 ... n_classes - 1.
    epochs : int, default=6
        Number of passes over the pictures.
    weight_decay : float, default=2e-3
        Weight of the L2 penalty, at least 0.
    seed : int, default=0
        Seed of the initial weights and of the order of the pictures. The random state of torch is
        left as it was.
    verbose : int, default=0
        1 prints a line an epoch.

    Returns
    -------
    LeNet5
        The trained network, on the CPU, in evaluation mode.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        trainer = lenet5_trainer(
            int(y.max()) + 1, len(X), epochs=epochs, weight_decay=weight_decay, verbose=verbose
        )
        trainer.fit(X, y.astype(np.int64))
    return trainer.module_.cpu().eval()
