"""Cases of the comparison by themselves: attacks, other data sets, and rejection."""

import warnings

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch import nn

from sklearn_densconf.comparison import _perturbations as perturbations
from sklearn_densconf.comparison._kept import Kept
from sklearn_densconf.comparison._rejection import ALPHA, DELTA, measure_rejection
from sklearn_densconf.comparison._unknown import reshape_pictures

BOUNDS = (0.0, 1.0)
N, K = 40, 3


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, K)
    network = nn.Sequential(*layers).eval().requires_grad_(False)
    network[-1].weight *= 20  # surer than an untrained one
    return network


@pytest.fixture(scope="module")
def pixels():
    return torch.rand(N, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def _labels(network, X):
    return network(X).argmax(1)


@pytest.fixture(scope="module")
def foolbox():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("foolbox")


def test_fgsm_is_foolboxs_with_the_smallest_size_that_fools(network, pixels, foolbox):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = foolbox.PyTorchModel(network, bounds=BOUNDS, device="cpu")
    attack = foolbox.attacks.LinfFastGradientAttack(random_start=False)
    sizes = [size / 255 for size in perturbations.SIZES]
    labels = _labels(network, pixels)
    _, clipped, fooled = attack(theirs, pixels, labels, epsilons=sizes)
    first = [next((i for i in range(7) if fooled[i][n]), 6) for n in range(N)]
    expected = torch.stack([clipped[i][n] for n, i in enumerate(first)])
    found = perturbations.fast_gradient_sign(network, pixels, BOUNDS)
    assert len(set(first)) > 2  # several sizes are needed
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_fgsm_leaves_what_it_cannot_fool_at_the_largest_size(pixels):
    sure = nn.Sequential(nn.Flatten(), nn.Linear(64, 2)).requires_grad_(False)
    sure[1].weight.zero_()
    sure[1].weight[0, 0], sure[1].bias[0] = 1e-3, 9.0
    moved = perturbations.fast_gradient_sign(sure, pixels, BOUNDS) - pixels
    assert moved.flatten(1)[:, 1:].abs().max() == 0
    expected = -pixels.flatten(1)[:, 0].clamp(max=64 / 255)
    torch.testing.assert_close(moved.flatten(1)[:, 0], expected, atol=1e-6, rtol=0)


def test_one_perturbation_for_all_is_bounded_and_fools_enough(network, pixels):
    changed = perturbations.add_universal(network, pixels, BOUNDS)
    assert changed.min() >= 0
    assert changed.max() <= 1
    moved = changed - pixels
    inside = (changed > 0) & (changed < 1)  # not clipped
    spread = torch.where(inside, moved, torch.nan).numpy()
    assert np.nanmax(np.nanmax(spread, 0) - np.nanmin(spread, 0)) < 1e-6  # the same for all
    assert moved.abs().max() <= perturbations.UNIVERSAL[-1] / 255 + 1e-6
    fooled = (_labels(network, changed) != _labels(network, pixels)).float().mean()
    noise = torch.sign(torch.rand_like(pixels[:1]) - 0.5) * moved.abs().max()
    by_noise = (_labels(network, (pixels + noise).clamp(0, 1)) != _labels(network, pixels)).float()
    assert fooled >= perturbations.ENOUGH > by_noise.mean()


def test_the_ascent_of_an_affine_network_ends_at_the_corner():
    """Of two classes the gradient's sign is known, so the perturbation is, in closed form."""
    draw = torch.Generator().manual_seed(0)
    affine = nn.Sequential(nn.Flatten(), nn.Linear(16, 2)).requires_grad_(False)
    affine[1].weight.copy_(torch.randn(2, 16, generator=draw))
    affine[1].bias.copy_(-affine[1].weight.sum(1) / 2)  # the border passes through the middle
    X = 0.4 + 0.2 * torch.rand(200, 1, 4, 4, generator=draw)
    X = X[_labels(affine, X) == 0]
    size = 0.05
    labels, nothing = torch.zeros(len(X), dtype=torch.long), torch.zeros_like(X[:1])
    found = perturbations._universal(affine, X, labels, nothing, size=size, bounds=BOUNDS)
    expected = size * (affine[1].weight[1] - affine[1].weight[0]).sign().reshape(1, 1, 4, 4)
    torch.testing.assert_close(found, expected)


def test_fooling_pictures_are_sure_of_each_class_in_turn(network, pixels):
    made = perturbations.fooling_pictures(network, pixels, BOUNDS)
    posterior = network(made).softmax(1)
    assert _labels(network, made).tolist() == [i % K for i in range(N)]
    assert posterior.max(1).values.min() >= perturbations.SURE
    assert made.min() >= 0
    assert made.max() <= 1
    before = network(pixels).softmax(1)
    done = before[range(N), torch.arange(N) % K] >= perturbations.SURE
    assert torch.equal(made[done], pixels[done])  # no step too many


def test_pictures_of_another_data_set_take_the_shape_of_the_measured_ones():
    grey = np.random.default_rng(0).random((2, 1, 4, 4), np.float32)
    assert reshape_pictures(grey, grey) is grey
    made = reshape_pictures(grey, np.zeros((1, 3, 8, 8), np.uint8))
    assert made.shape == (2, 3, 8, 8)
    assert made.dtype == np.uint8
    assert np.array_equal(made[:, 0], made[:, 2])
    corners = made[:, 0, ::7, ::7] / 255
    np.testing.assert_allclose(corners, grey[:, 0, ::3, ::3], atol=0.5 / 255 + 1e-6)


def _posterior(n, k, sharpness):
    draw = np.random.default_rng(0)
    y = draw.integers(0, k, n)
    z = draw.normal(size=(n, k))
    z[np.arange(n), y] += sharpness
    return softmax(z, axis=1), y


def test_on_200_splits_the_promises_of_rejection_are_kept():
    proba, y = _posterior(1000, 4, 2)
    found = measure_rejection(proba.argmax(axis=1), proba, y)
    error = np.mean(proba.argmax(axis=1) != y)
    assert found["risk"] == error / 2
    standard_error = np.array(found["rejected, sd"]) / np.sqrt(200)
    assert (found["rejected"] <= ALPHA + 3 * standard_error).all()
    assert found["exceeded"] <= DELTA + 3 * np.sqrt(DELTA * (1 - DELTA) / 200)
    assert 0 < found["kept"] < found["risk"]
    assert 0.3 < found["covered"] < 1


def test_a_risk_is_none_that_so_few_pictures_could_not_show():
    proba, y = _posterior(200, 4, 6)
    found = measure_rejection(proba.argmax(axis=1), proba, y, n_splits=3)
    assert found["risk"] == 10 / 100
    assert len(found["rejected"]) == 4


def test_numbers_are_kept_under_all_that_they_depend_on(tmp_path, monkeypatch):
    calls = []

    def result(*values):
        kept = Kept(tmp_path, *values)
        return kept.result("errors", lambda: calls.append(values) or {"n": len(calls)})

    assert result(0, np.ones(3)) == {"n": 1}
    assert result(0, np.ones(3)) == {"n": 1}
    assert result(1, np.ones(3)) == {"n": 2}
    assert result(0, np.zeros(3)) == {"n": 3}
    monkeypatch.setattr("sklearn_densconf.comparison._kept._code", lambda: "other code")
    assert result(0, np.ones(3)) == {"n": 4}
    (file, *_) = tmp_path.rglob("errors.json")
    assert [path.name for path in file.parent.iterdir()] == ["errors.json"]
