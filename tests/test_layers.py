"""Layers by name: several in one pass, nothing after the last one, pooling."""

from collections import OrderedDict
from types import SimpleNamespace

import networks
import numpy as np
import pytest
import torch
from networks import Convolutional
from torch import nn

from sklearn_densconf import FeatureExtractor
from sklearn_densconf.features._layers import check_layers

MAPS = torch.rand(4, 2, 3, 5, generator=torch.Generator().manual_seed(0))


class _Recording(nn.Module):
    """Three layers; each writes its name to a file when it runs."""

    def __init__(self, log):
        super().__init__()
        self.first, self.second, self.third = (_Told(log, name) for name in ("1", "2", "3"))

    def forward(self, X):
        return self.third(self.second(self.first(X)))


class _Told(nn.Module):
    def __init__(self, log, name):
        super().__init__()
        self.log, self.name = str(log), name

    def forward(self, X):
        with open(self.log, "a") as file:
            file.write(self.name)
        return X + 1


@pytest.mark.parametrize(
    ("layer", "ran"),
    [
        ("first", "1"),
        ("second", "12"),
        (["second", "first"], "12"),
        (["first", "third"], "123"),
        (None, "123"),
    ],
)
def test_the_pass_stops_after_the_last_wanted_layer(tmp_path, layer, ran):
    log = tmp_path / "log"
    X = np.zeros((3, 2), np.float32)
    extractor = FeatureExtractor(_Recording(log), layer=layer, batch_size=3).fit(X)
    log.unlink()
    extractor.transform(X)
    assert log.read_text() == ran


def test_several_layers_of_one_pass_are_those_of_single_passes_side_by_side():
    X = np.random.default_rng(0).random((9, 1, 12, 12), np.float32)
    layers = ["hidden", "body.0", None, "body"]
    together = FeatureExtractor(Convolutional(), layer=layers).fit_transform(X)
    apart = [FeatureExtractor(Convolutional(), layer=layer).fit_transform(X) for layer in layers]
    np.testing.assert_array_equal(together, np.hstack(apart))


def test_a_layer_before_an_in_place_one_keeps_its_own_values():
    X = np.random.default_rng(0).random((9, 1, 12, 12), np.float32)
    network = Convolutional()
    with torch.inference_mode():
        expected = network.eval().body[:2](torch.from_numpy(X)).mean((2, 3)).numpy()
    assert (expected < 0).any()
    features = FeatureExtractor(network, layer=["body.1", None]).fit_transform(X)[:, :4]
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("pooling", "pooled"),
    [
        ("avg", MAPS.mean((2, 3))),
        ("max", MAPS.amax((2, 3))),
        ("flatten", MAPS.flatten(1)),
    ],
)
def test_pooling_makes_rows_of_maps(pooling, pooled):
    features = FeatureExtractor(nn.Identity(), pooling=pooling).fit_transform(MAPS)
    np.testing.assert_allclose(features, pooled.numpy(), rtol=1e-6)


def test_pooling_makes_rows_of_volumes_and_of_one_number_a_sample():
    volumes = MAPS[:, :, None]
    features = FeatureExtractor(nn.Identity()).fit_transform(volumes)
    np.testing.assert_allclose(features, MAPS.mean((2, 3)).numpy(), rtol=1e-6)
    numbers = FeatureExtractor(networks.FirstColumn()).fit_transform(MAPS[:, 0, 0])
    np.testing.assert_array_equal(numbers, MAPS[:, 0, 0, :1].numpy())


def test_of_a_layer_that_is_called_twice_the_first_call_counts():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.doubling = networks.Doubling()

        def forward(self, X):
            return self.doubling(self.doubling(X))

    X = np.ones((2, 3), np.float32)
    features = FeatureExtractor(Twice(), layer=["doubling", None]).fit_transform(X)
    np.testing.assert_array_equal(features, [[2.0] * 3 + [4.0] * 3] * 2)


def test_a_layer_with_two_names_is_known_by_each():
    network = nn.Sequential(networks.Doubling(), nn.Flatten())
    network.add_module("again", network[0])
    X = np.ones((2, 3), np.float32)
    for layer in ("0", "again"):
        np.testing.assert_array_equal(
            FeatureExtractor(network, layer=layer).fit_transform(X), 2 * X
        )


OUTPUTS = {
    "logits among others": lambda X: {"loss": X[0, 0], "logits": 2 * X},
    "an attribute": lambda X: SimpleNamespace(features=X, logits=2 * X),
    "a tuple": lambda X: (2 * X, X),
    "a nested list after other things": lambda X: [None, "name", (2 * X,), X],
    "a mapping without logits": lambda X: OrderedDict(hidden=2 * X, other=X),
}


class _Giving(nn.Module):
    def __init__(self, make):
        super().__init__()
        self.make = make

    def forward(self, X):
        return self.make(X)


@pytest.mark.parametrize("make", OUTPUTS.values(), ids=OUTPUTS)
def test_of_several_tensors_the_logits_or_the_first_one_count(make):
    X = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(FeatureExtractor(_Giving(make)).fit_transform(X), 2 * X)


@pytest.mark.parametrize("output", [None, (), {"loss": 1.0}, "text", [[None]]])
def test_a_layer_that_gives_no_tensor_is_refused(output):
    with pytest.raises(TypeError, match=r"'output' gives a .* without a tensor: name a layer that"):
        FeatureExtractor(_Giving(lambda _: output)).fit(np.zeros((2, 3), np.float32))


def test_a_layer_that_is_never_called_is_refused():
    network = Convolutional()
    network.spare = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"forward pass never calls the layers \['spare'\]"):
        FeatureExtractor(network, layer=["head", "spare"]).fit(np.zeros((2, 1, 12, 12)))


def test_an_output_whose_first_axis_is_not_the_sample_is_refused():
    network = nn.Flatten(0, 1)
    with pytest.raises(
        ValueError, match=r"layer 'output' gives 6 rows for 1 samples, but its first axis"
    ):
        FeatureExtractor(network).fit(np.zeros((2, 6, 4)))


@pytest.mark.parametrize("make", [lambda X: X.sum(1).squeeze(), torch.mean, lambda X: (X.sum(), X)])
def test_an_output_without_an_axis_of_samples_is_refused_with_the_cure(make):
    with pytest.raises(ValueError, match=r"gives a number without an axis of samples: .*squeeze\("):
        FeatureExtractor(_Giving(make)).fit(np.zeros((2, 3), np.float32))
    cured = FeatureExtractor(_Giving(lambda X: X[:, :1].squeeze(-1)))
    assert cured.fit_transform(np.ones((2, 3), np.float32)).tolist() == [[1.0], [1.0]]


def test_complex_numbers_are_refused_and_not_halved():
    X = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)
    with pytest.raises(ValueError, match="gives complex numbers, of which half would be dropped"):
        FeatureExtractor(_Giving(torch.fft.fft)).fit(X)
    both = _Giving(lambda X: torch.view_as_real(torch.fft.fft(X)))
    features = FeatureExtractor(both, pooling="flatten").fit_transform(X)
    np.testing.assert_allclose(features[:, ::2], np.fft.fft(X).real, atol=1e-6)
    np.testing.assert_allclose(features[:, 1::2], np.fft.fft(X).imag, atol=1e-6)


def test_a_network_that_takes_gradients_is_told_so():
    def energy_and_force(X):
        with torch.enable_grad():
            X = X.clone().requires_grad_(True)
            return torch.autograd.grad((X**2).sum(), X)[0]

    with pytest.raises(ValueError, match="Its forward pass takes gradients, which are not comput"):
        FeatureExtractor(_Giving(energy_and_force)).fit(np.zeros((2, 3), np.float32))


KNOWN = ["", "conv_1", "conv_2", "head"]


def test_layers_are_none_a_name_or_several():
    assert check_layers(None, KNOWN) == [""]
    assert check_layers("head", KNOWN) == ["head"]
    assert check_layers(("conv_2", None), KNOWN) == ["conv_2", ""]


def test_a_missing_layer_is_answered_with_near_names_or_the_first_ones():
    with pytest.raises(ValueError, match=r"layer 'conv_9' does not .* near names: \['conv_\d', 'c"):
        check_layers("conv_9", KNOWN)
    with pytest.raises(ValueError, match=r"layer 'xyz' .* near names: \['conv_1', 'conv_2', 'he"):
        check_layers("xyz", KNOWN)
    with pytest.raises(ValueError, match=r"distinct names in a list, got \[7\]: see \[name for"):
        check_layers([7], KNOWN)


def test_a_layer_called_output_and_the_networks_output_are_not_mixed_up():
    with pytest.raises(ValueError, match="None being called 'output'; got"):
        check_layers(["output", None], [*KNOWN, "output"])
    assert check_layers("output", [*KNOWN, "output"]) == ["output"]


PENULTIMATE = {
    "a convolutional network": (Convolutional, lambda net, X: net.hidden(net.body(X).mean((2, 3)))),
    "linear layers defined in another order": (networks.OutOfOrder, lambda net, X: net.last(X)),
    "a linear layer alone": (lambda: nn.Linear(144, 2), lambda net, X: X),
    "a layer that is called twice": (networks.Recurrent, lambda net, X: net.step(X).tanh()),
    "a head by keyword": (networks.ByKeyword, lambda net, X: net.hidden(X)),
}


@pytest.mark.parametrize(("make", "before_the_head"), PENULTIMATE.values(), ids=PENULTIMATE)
def test_the_penultimate_layer_is_the_input_of_the_last_linear_one_that_runs(make, before_the_head):
    network = make().eval()
    X = torch.rand(7, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    if make is not Convolutional:
        X = X.flatten(1)
    with torch.inference_mode():
        expected = before_the_head(network, X)
        if make is Convolutional:
            expected = expected.relu()
        logits = network(X)
    extractor = FeatureExtractor(network, layer=["penultimate", "output"], batch_size=3)
    for _ in range(2):  # the second time it is known which layer that is
        features = extractor.fit_transform(X.numpy())
        width = expected.shape[1]
        assert extractor.feature_groups_ == {
            "penultimate": slice(0, width),
            "output": slice(width, width + logits.shape[1]),
        }
        np.testing.assert_allclose(features, torch.hstack([expected, logits]), 1e-4, 1e-6)
    alone = FeatureExtractor(network, layer="penultimate").fit_transform(X.numpy())
    np.testing.assert_allclose(alone, expected, 1e-4, 1e-6)


def test_the_penultimate_features_are_remembered(tmp_path):
    log = tmp_path / "log"
    X = np.random.default_rng(0).random((6, 64), np.float32)
    given = {"layer": ["penultimate", "output"], "memory": tmp_path / "memory"}
    for _ in range(2):
        features = FeatureExtractor(networks.Logging(log), **given).fit_transform(X)
        np.testing.assert_array_equal(features[:, :64], X)
    assert networks.rows_passed(log) == 6


def test_a_penultimate_layer_is_refused_where_no_linear_layer_is_or_runs():
    told = r"network has none: name a layer, .* The last of named_modules\(\) are \['0'\]"
    with pytest.raises(ValueError, match=told):
        FeatureExtractor(nn.Sequential(nn.Flatten()), layer="penultimate").fit(MAPS)
    network = nn.Identity()
    network.spare = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"never calls the layers \['penultimate'\]"):
        FeatureExtractor(network, layer="penultimate").fit(MAPS.flatten(1))


def test_output_names_the_networks_output_and_layers_of_such_names_come_first():
    assert check_layers(["head", "output"], KNOWN) == ["head", ""]
    assert check_layers(["penultimate", "output"], KNOWN) == ["penultimate", ""]
    with pytest.raises(ValueError, match="None being called 'output'; got"):
        check_layers(["output", None], KNOWN)
    network = nn.Sequential()
    network.add_module("penultimate", networks.Doubling())
    network.add_module("output", nn.Linear(3, 2))
    network.add_module("softmax", nn.Softmax(1))
    X = np.ones((2, 3), np.float32)
    extractor = FeatureExtractor(network, layer=["penultimate", "output"])
    expected = [*[2.0] * 3, *network[:2](torch.ones(3)).tolist()]
    np.testing.assert_allclose(extractor.fit_transform(X), [expected] * 2, rtol=1e-6)


class _Cosine(nn.Module):
    """An embedding, and the cosines of its angles to a class each, as of ArcFace."""

    def __init__(self, n_classes):
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Linear(6, 4)
        self.classes = nn.Parameter(torch.randn(n_classes, 4))

    def forward(self, X):
        return nn.functional.normalize(self.embedding(X)) @ nn.functional.normalize(self.classes).T


def test_a_head_that_is_no_linear_layer_is_warned_of_once():
    X, network = np.random.default_rng(0).normal(size=(5, 6)), _Cosine(3)
    with pytest.warns(UserWarning, match="into 'embedding'.* gives 4 numbers and the network 3"):
        extractor = FeatureExtractor(network, layer=["penultimate", "output"]).fit(X)
    assert extractor.transform(X).shape == (5, 6 + 3)
    named = FeatureExtractor(network, layer=["embedding", "output"]).fit(X)
    with torch.no_grad():
        wanted = network.embedding(torch.tensor(X, dtype=torch.float32)).numpy()
    np.testing.assert_allclose(named.transform(X)[:, :4], wanted, rtol=1e-5, atol=1e-6)
