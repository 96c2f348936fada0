"""DeepFool against the closed form of affine networks, foolbox, and what it promises."""

import copy
import warnings

import numpy as np
import pytest
import torch
from scipy.ndimage import zoom
from sklearn.datasets import load_digits
from torch import nn

from sklearn_densconf.adversarial import deepfool
from sklearn_densconf.paper._networks import LeNet5

BEYOND = 1e-4  # what every distance gets in addition


def affine(weight, bias):
    """A network whose closest label change is known exactly."""
    network = nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
    with torch.no_grad():
        network.weight.copy_(torch.as_tensor(weight))
        network.bias.copy_(torch.as_tensor(bias))
    return network


def distances_to_borders(weight, bias, X):
    """Distance of each row to the border of its label with each class, infinite to its own."""
    logits = X @ weight.T + bias
    label = logits.argmax(1)
    gaps = logits.max(1, keepdims=True) - logits
    lengths = np.linalg.norm(weight[None] - weight[label][:, None], axis=2)
    lengths[np.arange(len(X)), label] = 1
    gaps[np.arange(len(X)), label] = np.inf
    return gaps / lengths, label


@pytest.fixture(params=[2, 3, 8], ids="{} classes".format)
def plane(request):
    """An affine network of 20 inputs, and rows it labels."""
    rng = np.random.default_rng(request.param)
    weight, bias = rng.normal(size=(request.param, 20)), rng.normal(size=request.param)
    return weight, bias, rng.normal(size=(50, 20))


@pytest.fixture(scope="module")
def digits():
    """Real digits brought to 28 x 28 pixels in [0, 1], float32."""
    small, y = load_digits(return_X_y=True)
    X = zoom(small.reshape(-1, 8, 8) / 16, (1, 3.5, 3.5), order=1)
    return X[:, None].astype(np.float32), y


@pytest.fixture(scope="module")
def lenet(digits):
    """LeNet-5 trained with softmax on the first 1,200 digits."""
    X, y = torch.from_numpy(digits[0][:1200]), torch.from_numpy(digits[1][:1200])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = LeNet5()
        optimiser = torch.optim.Adam(network.parameters(), 2e-3)
        for _ in range(4):
            for rows in torch.randperm(len(X)).split(50):
                optimiser.zero_grad()
                nn.functional.cross_entropy(network(X[rows]), y[rows]).backward()
                optimiser.step()
    optimiser.zero_grad()
    return network.eval()


@pytest.fixture(scope="module")
def held_out(digits):
    return digits[0][1200:1300], digits[1][1200:1300]


def labels_of(network, X):
    with torch.no_grad():
        return network(torch.as_tensor(X)).argmax(1).numpy()


# The closed form


@pytest.mark.parametrize("overshoot", [0.0, 0.02, 0.5])
def test_an_affine_network_is_fooled_in_one_step_of_the_known_length(plane, overshoot):
    weight, bias, X = plane
    distances, label = distances_to_borders(weight, bias, X)
    result = deepfool(affine(weight, bias), X, overshoot=overshoot)
    np.testing.assert_array_equal(result.labels_before, label)
    np.testing.assert_array_equal(result.iterations, 1)
    expected = (1 + overshoot) * (distances.min(1) + BEYOND)
    np.testing.assert_allclose(result.norms, expected, rtol=1e-6)
    assert result.success.all()
    if overshoot < 0.1:  # far beyond the nearest border others may be crossed
        np.testing.assert_array_equal(result.labels_after, distances.argmin(1))


def test_the_change_is_perpendicular_to_the_border(plane):
    weight, bias, X = plane
    result = deepfool(affine(weight, bias), X)
    normal = weight[result.labels_after] - weight[result.labels_before]
    change = result.adversarial - X
    cosine = (normal * change).sum(1) / np.linalg.norm(normal, axis=1) / result.norms
    np.testing.assert_allclose(cosine, 1, rtol=1e-9)


def test_only_the_largest_outputs_are_looked_at():
    weight, bias = np.array([[0.0, 0.0], [0.1, 0.0], [0.0, 9.0]]), np.array([1.0, 0.9, 0.0])
    X = np.zeros((1, 2))  # class 2 is the last, and the nearest
    near, far = (deepfool(affine(weight, bias), X, top=top) for top in (3, 2))
    assert near.labels_after == 2
    assert far.labels_after == 1
    expected = [1.02 * (1 / 9 + BEYOND), 1.02 * (1 + BEYOND)]
    np.testing.assert_allclose([near.norms[0], far.norms[0]], expected, rtol=1e-6)


# foolbox


@pytest.fixture(scope="module")
def foolbox():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it imports an old name of scipy's
        return pytest.importorskip("foolbox")


@pytest.mark.parametrize("bounds", [None, (0, 1)], ids=["unbounded", "bounded"])
@pytest.mark.parametrize("top", [3, 10])
def test_agrees_with_foolbox(lenet, held_out, foolbox, bounds, top):
    X = torch.from_numpy(held_out[0])
    their_network = foolbox.PyTorchModel(lenet, bounds=bounds or (-1e3, 1e3), device="cpu")
    attack = foolbox.attacks.L2DeepFoolAttack(steps=50, candidates=top, overshoot=0.02)
    labels = torch.from_numpy(labels_of(lenet, X))
    theirs, _, their_success = attack(their_network, X.clone(), labels, epsilons=None)
    ours = deepfool(lenet, X, top=top, bounds=bounds, device="cpu")
    assert ours.success.all()
    assert their_success.all()
    their_norms = (theirs - X).flatten(1).norm(dim=1)
    torch.testing.assert_close(ours.norms.mean(), their_norms.mean(), rtol=0.001, atol=0)
    torch.testing.assert_close(ours.norms, their_norms, rtol=0.01, atol=1e-4)


# What is promised


def test_the_result_says_what_the_network_says(lenet, held_out):
    X, _ = held_out
    result = deepfool(lenet, X, device="cpu")
    np.testing.assert_array_equal(result.labels_before, labels_of(lenet, X))
    np.testing.assert_array_equal(result.labels_after, labels_of(lenet, result.adversarial))
    np.testing.assert_array_equal(result.success, result.labels_after != result.labels_before)
    lengths = np.linalg.norm((result.adversarial - X).reshape(len(X), -1), axis=1)
    np.testing.assert_allclose(result.norms, lengths, rtol=1e-5)
    assert result.norms.mean() < 0.3 * np.linalg.norm(X.reshape(len(X), -1), axis=1).mean()


def test_the_label_attacked_is_the_networks_own_right_or_wrong(lenet, digits):
    X, y = digits
    wrong = labels_of(lenet, X) != y
    assert wrong.any()
    result = deepfool(lenet, X[wrong], device="cpu")
    assert (result.norms > 0).all()
    assert (result.iterations >= 1).all()
    assert (result.labels_before != y[wrong]).all()
    assert result.success.all()


def test_success_is_false_where_the_steps_did_not_suffice(lenet, held_out):
    X, _ = held_out
    one, many = (deepfool(lenet, X, max_iter=steps, bounds=(0, 1)) for steps in (1, 50))
    assert many.success.all()
    assert 0 < one.success.mean() < 1
    np.testing.assert_array_equal(
        one.success, labels_of(lenet, one.adversarial) != one.labels_before
    )
    np.testing.assert_array_equal(many.iterations[one.success], 1)
    assert (many.iterations[~one.success] > 1).all()


def test_a_network_without_gradients_is_not_fooled_and_gives_no_nan():
    network = affine(np.zeros((3, 4)), np.array([0.0, 1.0, 2.0]))
    X = np.ones((2, 4))
    result = deepfool(network, X, max_iter=5)
    np.testing.assert_array_equal(result.adversarial, X)
    assert not result.success.any()
    assert (result.iterations == 5).all()


def test_rounding_to_the_dtype_given_back_counts_in_success():
    network = affine(np.array([[0.0], [1.0]]), np.array([0.0, -1000.05]))
    result = deepfool(network, np.array([[1000.0]], np.float16), overshoot=0, max_iter=3)
    assert result.adversarial.dtype == np.float16  # the next one up is 1000.5
    assert result.success == (float(result.adversarial[0, 0]) > 1000.05)


@pytest.mark.parametrize("bounds", [(0, 1), (-0.5, 1.5)])
def test_bounds_are_kept(lenet, held_out, bounds):
    result = deepfool(lenet, held_out[0], bounds=bounds)
    assert result.adversarial.min() >= bounds[0]
    assert result.adversarial.max() <= bounds[1]
    assert result.success.all()


def test_a_picture_is_attacked_alike_in_any_batch(lenet, held_out):
    X = held_out[0][:30]
    whole = deepfool(lenet, X, device="cpu")
    for batch_size in (1, 7):
        parts = deepfool(lenet, X[::-1], batch_size=batch_size, device="cpu")
        np.testing.assert_allclose(parts.adversarial[::-1], whole.adversarial, atol=1e-4)
        np.testing.assert_array_equal(parts.labels_after[::-1], whole.labels_after)


class Awkward(nn.Module):
    """In-place layers from the first on, batch norm, dropout, and half of it frozen."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.ReLU(inplace=True),
            nn.Conv2d(1, 4, 3),
            nn.BatchNorm2d(4),
            nn.Dropout(0.5),
            nn.ReLU(inplace=True),
            nn.Flatten(),
            nn.Linear(144, 5),
        )
        self.body[1].requires_grad_(False)

    def forward(self, X):
        return self.body(X)


@pytest.fixture
def awkward():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Awkward()
        network.train()
        network(torch.rand(20, 1, 8, 8))  # statistics for the batch norm
    network.body[2].eval()
    return network


def test_the_network_and_the_pictures_are_left_as_they_were(awkward):
    X = np.random.default_rng(0).uniform(size=(6, 1, 8, 8)).astype(np.float32)
    before = X.copy()
    modes = [module.training for module in awkward.modules()]
    needs = [parameter.requires_grad for parameter in awkward.parameters()]
    state = {name: value.clone() for name, value in awkward.state_dict().items()}
    random_state = torch.get_rng_state()
    deepfool(awkward, X)
    assert [module.training for module in awkward.modules()] == modes
    assert [parameter.requires_grad for parameter in awkward.parameters()] == needs
    assert all(parameter.grad is None for parameter in awkward.parameters())
    assert all(torch.equal(state[name], value) for name, value in awkward.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random_state)
    np.testing.assert_array_equal(X, before)


def test_the_network_is_attacked_in_evaluation_mode_in_place_layers_or_not(awkward):
    X = np.random.default_rng(0).uniform(0.1, 1, size=(6, 1, 8, 8)).astype(np.float32)
    result = deepfool(awkward, X)
    plain = awkward.eval()
    plain.body[0], plain.body[4] = nn.ReLU(), nn.ReLU()
    expected = deepfool(plain, X)
    np.testing.assert_array_equal(result.adversarial, expected.adversarial)
    np.testing.assert_array_equal(result.labels_before, labels_of(plain, X))


@pytest.mark.parametrize(
    "mode", [torch.no_grad, torch.inference_mode], ids=["no_grad", "inference"]
)
def test_works_where_gradients_are_off(lenet, held_out, mode):
    X = torch.from_numpy(held_out[0][:5])
    expected = deepfool(lenet, X).adversarial
    with mode():
        result = deepfool(lenet, X.clone())
    torch.testing.assert_close(result.adversarial, expected)
    assert not result.adversarial.requires_grad


@pytest.mark.parametrize(
    "changed",
    [
        lambda X: X.astype(np.float64),
        lambda X: X[::-1][::-1],
        lambda X: X.astype(">f4"),
        lambda X: np.broadcast_to(X, X.shape),
        np.asfortranarray,
        torch.from_numpy,
        lambda X: torch.from_numpy(X).requires_grad_(),
        lambda X: X.tolist(),
    ],
    ids=["float64", "strides", "endian", "read-only", "fortran", "tensor", "with grad", "list"],
)
def test_kind_and_dtype_of_the_pictures_come_back(lenet, held_out, changed):
    X = held_out[0][:3]
    given = changed(X.copy())
    result = deepfool(lenet, given, device="cpu")
    is_tensor = isinstance(given, torch.Tensor)
    assert all(isinstance(value, torch.Tensor) == is_tensor for value in vars(result).values())
    if hasattr(given, "dtype"):
        wanted = given.dtype if is_tensor else given.dtype.newbyteorder("=")
        assert result.adversarial.dtype == wanted
    expected = deepfool(lenet, X, device="cpu").adversarial
    np.testing.assert_allclose(torch.as_tensor(result.adversarial), expected, atol=1e-5)


def test_verbose_shows_a_bar(lenet, held_out, capsys):
    deepfool(lenet, held_out[0][:4], batch_size=2, verbose=1)
    assert "4/4" in capsys.readouterr().err
    deepfool(lenet, held_out[0][:4])
    assert capsys.readouterr().err == ""


def test_the_real_imagenet_network_is_fooled_by_changes_nobody_sees(imagenet_net, imagenet_folder):
    network = imagenet_net.mobilenet_v2()
    paths = sorted((imagenet_folder / "imagenette224" / "val").rglob("*.JPEG"))[::130][:4]
    X = torch.stack([imagenet_net.preprocess(path) for path in paths])
    result = deepfool(network, X, bounds=(-1, 1), device="cpu")
    assert result.success.all()
    assert len(set(result.labels_before.tolist())) == 4
    assert (result.norms < 0.02 * X.flatten(1).norm(dim=1)).all()


# Errors


class TwoHeads(nn.Module):
    def forward(self, X):
        return X, X


@pytest.mark.parametrize(
    ("network", "X", "options", "error", "message"),
    [
        (None, [[0.0, 1.0]], {"top": 1}, ValueError, "top must be .* at least 2, got 1"),
        (None, [[0.0, 1.0]], {"top": 2.5}, ValueError, "top must be a whole number.*2.5"),
        (None, [[0.0, 1.0]], {"max_iter": 0}, ValueError, "max_iter must be .* 1, got 0"),
        (None, [[0.0, 1.0]], {"batch_size": 0}, ValueError, "batch_size must be .* 1, got 0"),
        (None, [[0.0, 1.0]], {"overshoot": -1}, ValueError, "overshoot must be .*got -1"),
        (None, [[0.0, 1.0]], {"overshoot": np.nan}, ValueError, "overshoot must be .*got nan"),
        (None, [[0.0, 1.5]], {"bounds": (0, 1)}, ValueError, r"bounds=\(0, 1\), got 0 to 1.5"),
        (None, [[0.0, 1.0]], {"device": "cray"}, ValueError, "device must be 'auto' or"),
        (None, [[0, 1]], {}, ValueError, "X must be floating.*got torch.int64: scale"),
        (None, [0.0, 1.0], {}, ValueError, r"batch of pictures, got shape \(2,\)"),
        (None, np.empty((0, 2)), {}, ValueError, r"batch of pictures, got shape \(0, 2\)"),
        (None, [[0, 1], [np.nan, 0]], {}, ValueError, "NaN or infinity, first in sample 1"),
        (None, [[np.inf, 0.0]], {}, ValueError, "NaN or infinity, first in sample 0"),
        (nn.Linear(2, 1), [[0.0, 1.0]], {}, ValueError, r"shape \(1, at least 2.*got \(1, 1\)"),
        (nn.Flatten(0), [[0.0, 1.0]], {}, ValueError, r"at least 2 classes\), got \(2,\)"),
        (TwoHeads(), [[0.0, 1.0]], {}, ValueError, "at least 2 classes.*got tuple: wrap"),
        (np.sum, [[0.0, 1.0]], {}, TypeError, "must be a torch.nn.Module, got"),
    ],
)
def test_bad_input_gives_an_error_of_one_line(network, X, options, error, message):
    network = nn.Linear(2, 2) if network is None else network
    with pytest.raises(error, match=message) as caught:
        deepfool(network, np.asarray(X), **options)
    assert "\n" not in str(caught.value)


def test_a_network_with_broken_weights_is_refused():
    network = affine(np.full((2, 2), np.nan), np.zeros(2))
    with pytest.raises(ValueError, match="output for finite pictures is not finite: check"):
        deepfool(network, np.ones((1, 2)))


class Scaled(nn.Module):
    """Logits in another unit."""

    def __init__(self, network, factor):
        super().__init__()
        self.network, self.factor = network, factor

    def forward(self, X):
        return self.network(X) * self.factor


@pytest.mark.parametrize("exponent", [-80, -40, -24, 66, 100])
def test_the_unit_of_the_logits_changes_no_bit(lenet, held_out, exponent):
    expected = deepfool(lenet, held_out[0][:20], device="cpu")
    got = deepfool(Scaled(lenet, 2.0**exponent), held_out[0][:20], device="cpu")
    assert expected.success.all()
    np.testing.assert_array_equal(got.adversarial, expected.adversarial)
    np.testing.assert_array_equal(got.iterations, expected.iterations)


@pytest.mark.parametrize("factor", [1e-20, 1e-7, 1.0, 1e20, 1e30])
def test_an_affine_network_in_any_unit_is_fooled_in_the_known_length(factor):
    network = Scaled(affine(8 * np.eye(2), np.zeros(2)).float(), factor)
    result = deepfool(network, np.float32([[1, 0]]), device="cpu")
    assert result.success.all()
    np.testing.assert_allclose(result.norms, 1.02 * (np.sqrt(0.5) + 1e-4), rtol=1e-4)


def test_a_rival_without_a_slope_is_no_border():
    weight = np.float32([[1, 0], [0, 0], [1, 0], [0.5, 0.5]])  # rival 2 never gets nearer
    result = deepfool(affine(weight, np.float32([0, -9, 0, 0])), np.float32([[1, 0]]), device="cpu")
    assert result.success.all()
    assert result.labels_after.tolist() == [3]


class Softmax(nn.Module):
    """Probabilities from within `forward`, where no list of modules shows them."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, X):
        return self.network(X).softmax(1)


class Pair(nn.Module):
    """The probabilities of two classes from one logit."""

    def forward(self, logits):
        probability = logits[:, :1].sigmoid()
        return torch.cat([probability, 1 - probability], dim=1)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda network: nn.Sequential(network, nn.Softmax(1)),
        Softmax,
        lambda network: Softmax(network).to(torch.bfloat16),
        lambda network: Softmax(Scaled(network, 1e4)),
        lambda network: nn.Sequential(network, Pair()),
    ],
    ids=["module", "function", "bfloat16", "saturated", "two classes of one logit"],
)
def test_a_network_of_probabilities_is_warned_of(lenet, held_out, wrap):
    with pytest.warns(UserWarning, match="outputs are probabilities.*without its last softmax"):
        deepfool(wrap(copy.deepcopy(lenet)), held_out[0][:4], max_iter=1, device="cpu")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda network: nn.Sequential(network, nn.Sigmoid()),
        lambda network: nn.Sequential(Scaled(network, 1e-3), nn.Sigmoid()),
        lambda network: nn.Sequential(Scaled(network, 1e3), nn.Sigmoid()),
        lambda network: nn.Sequential(network, nn.Hardsigmoid()),
    ],
    ids=["sigmoid", "near one half", "saturated", "piecewise linear"],
)
def test_a_network_of_independent_sigmoids_is_warned_of(lenet, held_out, wrap):
    with pytest.warns(UserWarning, match="as of independent sigmoids.*without its last sigmoid"):
        deepfool(wrap(copy.deepcopy(lenet)), held_out[0][:4], max_iter=1, device="cpu")


def test_log_probabilities_are_logits(lenet, held_out):
    expected = deepfool(lenet, held_out[0][:20], device="cpu")
    got = deepfool(nn.Sequential(lenet, nn.LogSoftmax(1)), held_out[0][:20], device="cpu")
    np.testing.assert_allclose(got.norms, expected.norms, rtol=1e-3)


def test_more_candidates_than_classes_means_all_classes(plane):
    weight, bias, X = plane
    every, more = (deepfool(affine(weight, bias), X, top=top) for top in (len(bias), 1000))
    np.testing.assert_array_equal(every.adversarial, more.adversarial)
