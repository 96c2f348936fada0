"""Layers by name: several in one pass, nothing after the last one, pooling."""

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


@pytest.mark.parametrize(
    ("pooling", "pooled"),
    [("avg", MAPS[:, 0].mean(1)), ("max", MAPS[:, 0].amax(1)), ("flatten", MAPS[:, 0].flatten(1))],
)
def test_pooling_makes_rows_of_tokens(pooling, pooled):
    features = FeatureExtractor(nn.Identity(), pooling=pooling).fit_transform(MAPS[:, 0])
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


def test_a_layer_that_gives_no_tensor_is_refused():
    with pytest.raises(TypeError, match="layer 'output' gives a tuple, not a tensor: name a layer"):
        FeatureExtractor(nn.LSTM(3, 2)).fit(np.zeros((2, 4, 3), np.float32))


def test_a_layer_that_is_never_called_is_refused():
    network = Convolutional()
    network.spare = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"forward pass never calls the layers \['spare'\]"):
        FeatureExtractor(network, layer=["head", "spare"]).fit(np.zeros((2, 1, 12, 12)))


def test_an_output_whose_first_axis_is_not_the_sample_is_refused():
    network = nn.Flatten(0, 1)
    with pytest.raises(ValueError, match=r"layer 'output' gives 6 rows for 1 samples of shape \(6"):
        FeatureExtractor(network).fit(np.zeros((2, 6, 4)))


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
    with pytest.raises(ValueError, match="layer 7 does not exist"):
        check_layers([7], KNOWN)


def test_a_layer_called_output_and_the_networks_output_are_not_mixed_up():
    with pytest.raises(ValueError, match="None being called 'output'; got"):
        check_layers(["output", None], [*KNOWN, "output"])
    assert check_layers("output", [*KNOWN, "output"]) == ["output"]
