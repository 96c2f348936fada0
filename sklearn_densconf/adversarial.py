"""DeepFool: a small step, in Euclidean length, that changes the label a network predicts.

S.-M. Moosavi-Dezfooli, A. Fawzi, P. Frossard, "DeepFool: a simple and accurate method to fool deep
neural networks", CVPR 2016, arXiv:1511.04599, algorithm 2.
"""

import copy
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import nn

from sklearn_densconf._array import unmasked
from sklearn_densconf._optional import import_optional
from sklearn_densconf.features._device import choose_device

__all__ = ["DeepFoolResult", "deepfool"]

Bounds = tuple[float, float]

_BEYOND = 1e-4  # added to the distance, as in the authors' code, so that a step crosses the border


@dataclass(frozen=True)
class DeepFoolResult:
    """Result of `deepfool`: arrays if X is an array, tensors on its device if it is a tensor.

    Attributes
    ----------
    adversarial : ndarray or Tensor of shape (n_samples, ...)
        The changed pictures, in the dtype of X.
    norms : ndarray or Tensor of shape (n_samples,), float32 or float64
        Euclidean lengths of the changes as they are in ``adversarial``, in units of the pixels.
    iterations : ndarray or Tensor of shape (n_samples,), int64
        Steps taken.
    success : ndarray or Tensor of shape (n_samples,), bool
        Whether the network's label of the changed picture differs from the one before.
    labels_before, labels_after : ndarray or Tensor of shape (n_samples,), int64
        Index of the network's largest output for the given and for the changed picture.
    """

    adversarial: Any
    norms: Any
    iterations: Any
    success: Any
    labels_before: Any
    labels_after: Any


def deepfool(
    model: nn.Module,
    X: Any,
    *,
    top: int = 10,
    overshoot: float = 0.02,
    max_iter: int = 50,
    bounds: Bounds | None = None,
    batch_size: int = 256,
    device: str = "auto",
    verbose: int = 0,
) -> DeepFoolResult:
    """Find pictures near the given ones to which a network assigns another label.

    Each step replaces the network f by its affine approximation at the picture. Let k be the label
    at the start and ``w_l`` the gradient of ``f_l - f_k``. The nearest border is that of the class
    ``l = argmin |f_l - f_k| / |w_l|``, and the step ``|f_l - f_k| w_l / |w_l|²`` leads to it. The
    network sees next the given picture plus (1 + overshoot) times the sum of all steps. The walk
    ends where the label changes. The label attacked is the network's own, right or wrong. The given
    network is not changed: a copy in evaluation mode is attacked.

    Parameters
    ----------
    model : torch.nn.Module
        The network, from a batch of pictures to logits (n_samples, n_classes), in any unit; a
        warning is given where they are probabilities, of a softmax or of sigmoids, whose gradients
        vanish. For norms and bounds
        in units of the pixels, any normalisation of the pixels must be part of it.
    X : ndarray or Tensor of shape (n_samples, ...), floating
        The pictures, as the network takes them.
    top : int, default=10
        Number of classes considered, those with the largest outputs for the given picture, its
        label included; all classes if there are fewer.
    overshoot : float, default=0.02
        How far beyond the border to go, as a fraction of the way to it; 0 or more.
    max_iter : int, default=50
        Largest number of steps.
    bounds : tuple of float, default=None
        Lowest and highest pixel. The picture is clipped to them wherever the network sees it, the
        sum of the steps is not. None does not clip.
    batch_size : int, default=256
        Number of pictures attacked at once. Pictures that are done leave the batch.
    device : str, default="auto"
        Where to compute; "auto" chooses a GPU if there is one.
    verbose : int, default=0
        1 shows a progress bar (needs tqdm).

    Returns
    -------
    DeepFoolResult
        The changed pictures, their distances from the given ones, and whether they fool the
        network. Read ``norms`` together with ``success``: a failed attack has a norm too.

    Raises
    ------
    TypeError
        If the network is not a module, its output not a tensor, or X neither an array nor a tensor.
    ValueError
        If pixels are not floating, not finite or outside of ``bounds``, the network's output is
        not of shape (n_samples, at least 2) or not finite, a parameter is outside of its range, or
        the device is not there.

    References
    ----------
    .. [1] S.-M. Moosavi-Dezfooli, A. Fawzi, P. Frossard, "DeepFool: a simple and accurate method
       to fool deep neural networks", CVPR 2016, arXiv:1511.04599, algorithm 2. As in the authors'
       code, 1e-4 is added to every distance, and the overshoot is part of the picture at which the
       network is approximated next.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from sklearn_densconf.adversarial import deepfool
    >>> border = torch.nn.Linear(2, 2)  # the border is where x_0 = x_1
    >>> _ = border.load_state_dict({"weight": torch.eye(2), "bias": torch.zeros(2)})
    >>> result = deepfool(border, np.array([[3.0, 1.0]], np.float32), device="cpu")
    >>> result.adversarial.round(2), result.norms.round(2), result.labels_after
    (array([[1.98, 2.02]], dtype=float32), array([1.44], dtype=float32), array([1]))
    """
    _check_options(top, overshoot, max_iter, batch_size)
    is_tensor = isinstance(X, torch.Tensor)
    with torch.inference_mode(False), torch.no_grad():  # the caller's modes would forbid gradients
        pictures = X.detach() if is_tensor else _to_tensor(np.asarray(unmasked(X)))
        _check_pictures(pictures, bounds)
        network = _copy_network(model).to(choose_device(device))
        parts = [
            _attacked(
                network, batch, top=top, overshoot=overshoot, max_iter=max_iter, bounds=bounds
            )
            for batch in _batches(pictures, batch_size, verbose)
        ]
        columns = [torch.cat(column) for column in zip(*parts, strict=True)]
    return DeepFoolResult(*(columns if is_tensor else [column.numpy() for column in columns]))


def _attacked(
    network: nn.Module,
    pictures: torch.Tensor,
    *,
    top: int,
    overshoot: float,
    max_iter: int,
    bounds: Bounds | None,
) -> tuple[torch.Tensor, ...]:
    """Attack a batch; return the columns of the result, on the device of the pictures."""
    parameter = next(network.parameters(), pictures)
    X = pictures.to(parameter)
    before = _logits(network, X)
    if not before.isfinite().all():
        raise ValueError(
            "the network's output for finite pictures is not finite: check its weights"
        )
    _warn_of_probabilities(network, X, before)
    labels = before.argmax(1)
    others = before.scatter(1, labels[:, None], -torch.inf)
    rivals = others.topk(min(top, before.shape[1]) - 1).indices  # (n, top - 1)
    moved, iterations = _walk(
        network, X, labels, rivals, overshoot=overshoot, max_iter=max_iter, bounds=bounds
    )
    adversarial = moved.to(pictures)
    after = _logits(network, adversarial.to(parameter))  # of what is returned, after rounding
    success = (after.argmax(1) != labels) & after.isfinite().all(1)
    exact = torch.promote_types(pictures.dtype, torch.float32)
    norms = torch.linalg.vector_norm((adversarial - pictures).flatten(1), dim=1, dtype=exact)
    columns = [norms, iterations, success, labels, after.argmax(1)]
    return adversarial, *(column.to(pictures.device) for column in columns)


def _warn_of_probabilities(network: nn.Module, X: torch.Tensor, outputs: torch.Tensor) -> None:
    """Warn where the outputs are a softmax's or sigmoids', whose gradients vanish when sure."""
    if outputs.min() < 0 or outputs.max() > 1:
        return
    rounding = min(100 * torch.finfo(outputs.dtype).eps, 0.05)
    if (outputs.sum(1, dtype=torch.float32) - 1).abs().max() <= rounding:
        kind, last = "with a sum of 1 per sample", "softmax"
    elif _is_bounded(network, X):
        kind, last = "as of independent sigmoids", "sigmoid"
    else:
        return
    warnings.warn(
        f"the network's outputs are probabilities, in [0, 1] {kind}: steps along their gradients, "
        "which vanish where the network is sure, are too long or lead nowhere; pass the network "
        f"without its last {last}",
        UserWarning,
        stacklevel=4,
    )


def _is_bounded(network: nn.Module, X: torch.Tensor) -> bool:
    """Tell whether outputs far from the pictures lie in [0, 1], too, and not all of them near 0.

    Logits in a small unit may lie there for the pictures themselves.
    """
    far = X[:1] + 1e4 * torch.linspace(-1, 1, X[0].numel()).to(X).reshape(X[:1].shape)
    outputs = _logits(network, torch.cat([far, -far, 1e4 + far, -1e4 - far]))
    return bool(outputs.min() >= 0 and 0.5 < outputs.max() <= 1)


def _walk(
    network: nn.Module,
    X: torch.Tensor,
    labels: torch.Tensor,
    rivals: torch.Tensor,
    *,
    overshoot: float,
    max_iter: int,
    bounds: Bounds | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the pictures where their labels change, or after max_iter steps; and the steps."""
    moved, total = X.clone(), torch.zeros_like(X)
    iterations = torch.zeros_like(labels)
    active = torch.arange(len(X), device=X.device)
    for _ in range(max_iter):
        total[active] += _step(network, moved[active], labels[active], rivals[active])
        target = X[active] + (1 + overshoot) * total[active]
        moved[active] = target if bounds is None else target.clamp(*bounds)
        iterations[active] += 1
        current = _logits(network, moved[active]).argmax(1)
        active = active[current == labels[active]]
        if not len(active):
            break
    return moved, iterations


@torch.enable_grad()
def _step(
    network: nn.Module, X: torch.Tensor, labels: torch.Tensor, rivals: torch.Tensor
) -> torch.Tensor:
    """Return the step to the nearest border of the affine approximation at X."""
    X = X.requires_grad_()
    logits = network(X.clone())
    gaps = logits.gather(1, rivals) - logits.gather(1, labels[:, None])  # (n, top - 1)
    nearest = torch.full_like(gaps[:, 0], torch.inf)
    step = torch.zeros_like(X)
    for gap in gaps.unbind(1):
        (gradient,) = torch.autograd.grad(gap.sum(), X, retain_graph=True)
        # Relative to the largest slope: the unit of the logits cancels, no square overflows.
        slope = gradient.flatten(1).abs().amax(1)
        flat = slope == 0  # no step leads to that border
        slope = torch.where(flat, 1, slope)
        direction = gradient / _over_pixels(slope, X)
        norm = torch.where(flat, 1, direction.flatten(1).norm(dim=1))
        distance = torch.where(flat, torch.inf, gap.detach().abs() / slope / norm)
        unit = direction / _over_pixels(norm, X)
        nearer = _over_pixels(distance < nearest, X)
        step = torch.where(nearer, _over_pixels(distance + _BEYOND, X) * unit, step)
        nearest = torch.minimum(distance, nearest)
    return step


def _over_pixels(values: torch.Tensor, X: torch.Tensor) -> torch.Tensor:
    return values.reshape(-1, *[1] * (X.ndim - 1))


def _logits(network: nn.Module, X: torch.Tensor) -> torch.Tensor:
    logits = network(X.clone())  # a copy: the first layer may work in place
    got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
    if not isinstance(got, tuple) or len(got) != 2 or got[0] != len(X) or got[1] < 2:
        raise ValueError(
            f"the network must return logits of shape ({len(X)}, at least 2 classes), got {got}: "
            f"wrap it in a module that does"
        )
    return logits


def _copy_network(model: nn.Module) -> nn.Module:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    return copy.deepcopy(model).eval().requires_grad_(False)


def _to_tensor(X: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(X, X.dtype.newbyteorder("="), order="C"))


def _batches(pictures: torch.Tensor, size: int, verbose: int) -> Iterator[torch.Tensor]:
    if not verbose:
        yield from pictures.split(size)
        return
    tqdm = import_optional("tqdm", "the progress bar of verbose=1").tqdm
    with tqdm(total=len(pictures), desc="DeepFool", unit="picture") as bar:
        for batch in pictures.split(size):
            yield batch
            bar.update(len(batch))


def _check_options(top: object, overshoot: float, max_iter: object, batch_size: object) -> None:
    smallest = {"top": (top, 2), "max_iter": (max_iter, 1), "batch_size": (batch_size, 1)}
    for name, (value, least) in smallest.items():
        if not isinstance(value, Integral) or value < least:
            raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
    if not 0 <= overshoot < np.inf:
        raise ValueError(f"overshoot must be finite and at least 0, got {overshoot!r}")


def _check_pictures(pictures: torch.Tensor, bounds: Bounds | None) -> None:
    if not pictures.is_floating_point():
        raise ValueError(
            f"X must be floating, as the network takes it, got {pictures.dtype}: "
            f"scale the pixels, for example X / 255"
        )
    if pictures.ndim < 2 or not len(pictures):
        raise ValueError(f"X must be a batch of pictures, got shape {tuple(pictures.shape)}")
    bad = ~pictures.isfinite().flatten(1).all(1)
    if bad.any():
        raise ValueError(f"X contains NaN or infinity, first in sample {int(bad.nonzero()[0, 0])}")
    if bounds is None:
        return
    low, high = bounds
    if not low <= pictures.min() <= pictures.max() <= high:
        raise ValueError(
            f"pixels must lie in bounds=({low}, {high}), got {float(pictures.min()):g} to "
            f"{float(pictures.max()):g}: pass the range of X as bounds"
        )
