"""Adversarial pictures that are made by gradients: pure functions of a network and of pixels.

Sizes are fractions of the range of pixels, the same for every data set. A leaf.

References
----------
I. Goodfellow, J. Shlens, C. Szegedy, "Explaining and Harnessing Adversarial Examples", ICLR 2015
(FGSM). S.-M. Moosavi-Dezfooli et al., "Universal adversarial perturbations", CVPR 2017; found here
by steps along signs of gradients, after A. Shafahi et al., "Universal Adversarial Training", AAAI
2020, section 3, in place of DeepFool at each picture. A. Nguyen, J. Yosinski, J. Clune, "Deep
Neural Networks are Easily Fooled", CVPR 2015, section 3.3 (pictures by ascent of the gradient).
"""

import torch
from torch import nn
from torch.nn import functional

Bounds = tuple[float, float]

SIZES = (1, 2, 4, 8, 16, 32, 64)  # of 255: how far FGSM may change a pixel, tried in this order
UNIVERSAL = (10, 20, 40, 80)  # of 255: 10 is the reference's; larger ones where it fools too few
ENOUGH = 0.5  # of the pictures: a universal perturbation that fools as many is large enough
_PASSES = 5  # over the pictures, for each size of a universal perturbation
_STEP = 2 / 255  # of the ascent to a fooling picture
_MOST_STEPS = 100
SURE = 0.99  # softmax of a fooling picture
_AT_ONCE = 32


def fast_gradient_sign(network: nn.Module, X: torch.Tensor, bounds: Bounds) -> torch.Tensor:
    """Return X + ε sign ∇ loss, clipped, with the smallest of `SIZES` that changes the label.

    The largest one where none does; the loss is that of the network's own label.
    """
    return torch.cat([_fast_gradient_sign(network, part, bounds) for part in X.split(_AT_ONCE)])


def _fast_gradient_sign(network: nn.Module, X: torch.Tensor, bounds: Bounds) -> torch.Tensor:
    labels = _labels(network, X)
    direction = _gradient(network, X, labels).sign() * (bounds[1] - bounds[0]) / 255
    changed, left = X.clone(), torch.arange(len(X))
    for size in SIZES:
        changed[left] = (X[left] + size * direction[left]).clamp(*bounds)
        left = left[_labels(network, changed[left]) == labels[left]]
        if not len(left):
            break
    return changed


def add_universal(network: nn.Module, X: torch.Tensor, bounds: Bounds) -> torch.Tensor:
    """Return all pictures with one perturbation: the smallest of `UNIVERSAL` that fools enough."""
    labels = torch.cat([_labels(network, part) for part in X.split(_AT_ONCE)])
    shift, unit = torch.zeros_like(X[:1]), (bounds[1] - bounds[0]) / 255
    changed = X
    for size in UNIVERSAL:
        shift = _universal(network, X, labels, shift, size=size * unit, bounds=bounds)
        changed = (X + shift).clamp(*bounds)
        after = torch.cat([_labels(network, part) for part in changed.split(_AT_ONCE)])
        if (after != labels).float().mean() >= ENOUGH:
            break
    return changed


def _universal(
    network: nn.Module,
    X: torch.Tensor,
    labels: torch.Tensor,
    shift: torch.Tensor,
    *,
    size: float,
    bounds: Bounds,
) -> torch.Tensor:
    """Return the shift, at most ``size`` a pixel, after passes of ascent of the loss."""
    for _ in range(_PASSES):
        for part, own in zip(X.split(_AT_ONCE), labels.split(_AT_ONCE), strict=True):
            slope = _gradient(network, (part + shift).clamp(*bounds), own).sum(0, keepdim=True)
            shift = (shift + size / _PASSES * slope.sign()).clamp(-size, size)
    return shift


def fooling_pictures(network: nn.Module, noise: torch.Tensor, bounds: Bounds) -> torch.Tensor:
    """Return noise that was changed until softmax is sure of a class: the first, the second, ...

    Pictures are left as they are after a number of steps, sure or not.
    """
    n_classes = network(noise[:1]).shape[1]
    wanted = torch.arange(len(noise)) % n_classes
    parts = zip(noise.split(_AT_ONCE), wanted.split(_AT_ONCE), strict=True)
    return torch.cat([_fooling(network, X, labels, bounds) for X, labels in parts])


def _fooling(
    network: nn.Module, X: torch.Tensor, wanted: torch.Tensor, bounds: Bounds
) -> torch.Tensor:
    X, left = X.clone(), torch.arange(len(X))
    for _ in range(_MOST_STEPS):
        posterior = network(X[left].clone()).softmax(1)
        left = left[posterior.gather(1, wanted[left, None])[:, 0] < SURE]
        if not len(left):
            break
        slope = _gradient(network, X[left], wanted[left])
        X[left] = (X[left] - _STEP * (bounds[1] - bounds[0]) * slope.sign()).clamp(*bounds)
    return X


def _labels(network: nn.Module, X: torch.Tensor) -> torch.Tensor:
    return network(X.clone()).argmax(1)


@torch.enable_grad()
def _gradient(network: nn.Module, X: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Compute the gradient of the cross-entropy of these labels in the pixels."""
    X = X.clone().requires_grad_()
    loss = functional.cross_entropy(network(X.clone()), labels, reduction="sum")
    return torch.autograd.grad(loss, X)[0]
