"""LeNet-5, the network of the paper's section 4.1."""

import torch
from torch import nn
from torch.nn import functional


class LeNet5(nn.Module):
    """LeNet-5 for pictures of 28 x 28 pixels; the output is the pre-softmax activations.

    Convolutions of 20 and 50 kernels of 5 x 5, each followed by 2 x 2 max pooling; a hidden layer
    of 500 units; one output unit a class. Hidden layers are rectified.
    """

    def __init__(self, n_classes: int = 10, n_channels: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_channels, 20, 5)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.fc1 = nn.Linear(800, 500)
        self.fc2 = nn.Linear(500, n_classes)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Compute the logits (n_samples, n_classes) of pictures (n_samples, n_channels, 28, 28)."""
        X = functional.max_pool2d(functional.relu(self.conv1(X)), 2)  # (n, 20, 12, 12)
        X = functional.max_pool2d(functional.relu(self.conv2(X)), 2)  # (n, 50, 4, 4)
        return self.fc2(functional.relu(self.fc1(X.flatten(1))))
