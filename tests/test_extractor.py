"""FeatureExtractor as a scikit-learn estimator: its checks, parameters, errors and threads."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from shutil import which

import numpy as np
import pytest
import skorch
import torch
from networks import Columns, Convolutional, ignore
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from sklearn_densconf import FeatureExtractor
from sklearn_densconf.features import FrozenBackbone

TRAINER = skorch.NeuralNetClassifier(
    Columns, criterion=nn.CrossEntropyLoss, max_epochs=2, train_split=None, verbose=0
)
BACKBONES = {
    "module": Columns(),
    "frozen": FrozenBackbone(Columns()),
    "function": "networks:columns",
    "skorch": TRAINER,
}


@parametrize_with_checks(
    [FeatureExtractor(backbone, device="cpu") for backbone in BACKBONES.values()]
)
def test_the_extractor_passes_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.fixture
def network():
    return Convolutional()


@pytest.fixture
def pictures():
    return np.random.default_rng(0).random((23, 1, 12, 12), np.float32)


@torch.inference_mode()
def _outputs(network, X):
    return network.eval()(torch.as_tensor(X, dtype=torch.float32)).numpy()


def test_features_are_the_networks_outputs_in_evaluation_mode(network, pictures):
    features = FeatureExtractor(network.train(), batch_size=7).fit_transform(pictures)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, _outputs(network, pictures), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 5, 23, 24, 1000])
def test_features_do_not_depend_on_the_batch_size(network, pictures, batch_size):
    features = FeatureExtractor(network, batch_size=batch_size).fit_transform(pictures)
    np.testing.assert_allclose(features, _outputs(network, pictures), rtol=1e-5, atol=1e-6)


def test_batches_of_iter_transform_are_the_rows_of_transform(network, pictures):
    extractor = FeatureExtractor(network, batch_size=10).fit(pictures)
    batches = list(extractor.iter_transform(pictures))
    assert [len(batch) for batch in batches] == [10, 10, 3]
    np.testing.assert_array_equal(np.concatenate(batches), extractor.transform(pictures))


def test_iter_transform_reads_no_further_than_it_is_asked(pictures):
    class Watched(torch.utils.data.Dataset):
        read = 0

        def __len__(self):
            return 1000

        def __getitem__(self, index):
            self.read = max(self.read, index)
            return torch.zeros(1, 12, 12)

    watched = Watched()
    extractor = FeatureExtractor(Convolutional(), batch_size=4).fit(watched)
    batches = extractor.iter_transform(watched)
    next(batches)
    batches.close()
    assert watched.read < 40


def test_columns_are_told_by_layer_and_unit(network, pictures):
    extractor = FeatureExtractor(network, layer=["body.0", "hidden", None]).fit(pictures)
    groups = {"body.0": slice(0, 4), "hidden": slice(4, 12), "output": slice(12, 17)}
    assert extractor.feature_groups_ == groups
    names = extractor.get_feature_names_out()
    assert list(names[[0, 4, 16]]) == ["body.0_0", "hidden_0", "output_4"]
    assert len(names) == extractor.transform(pictures).shape[1] == 17


def test_a_network_is_left_as_it_was_found(network, pictures):
    network.train()
    network.body[1].eval()  # a frozen BatchNorm
    network.body[0].weight.requires_grad_(False)
    network.hidden.register_forward_hook(ignore)
    before = _state(network)
    for layer in (None, "body.3"):
        extractor = FeatureExtractor(network, layer=layer).fit(pictures)
        clone(extractor).fit_transform(pictures)
        pickle.loads(pickle.dumps(extractor)).transform(pictures)
    assert _state(network) == before
    assert extractor.backbone is network


def _state(network):
    tensors = [*network.named_parameters(), *network.named_buffers()]
    return (
        [(name, part.training, len(part._forward_hooks)) for name, part in network.named_modules()],
        [
            (n, t.requires_grad, t.device, t.data_ptr(), t._version, t.sum().item())
            for n, t in tensors
        ],
    )


def test_training_the_network_further_does_not_change_a_fitted_extractor(network, pictures):
    extractor = FeatureExtractor(network).fit(pictures)
    before = extractor.transform(pictures)
    with torch.no_grad():
        network.head.weight.add_(1)
    np.testing.assert_array_equal(extractor.transform(pictures), before)


def test_fit_leaves_the_random_state_of_torch_alone(pictures):
    state = torch.random.get_rng_state()
    FeatureExtractor("networks:Convolutional").fit_transform(pictures)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_threads_on_one_fitted_extractor_get_the_serial_result(network, pictures):
    extractor = FeatureExtractor(network, batch_size=3).fit(pictures)
    serial = extractor.transform(pictures)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: extractor.transform(pictures), range(40)))
    for result in results:
        np.testing.assert_array_equal(result, serial)


def test_threads_with_different_layers_of_one_network_get_the_serial_result(network, pictures):
    frozen = FrozenBackbone(network)
    layers = ["body.0", "body", "hidden", None, ["body.3", "head"]]
    extractors = [FeatureExtractor(frozen, layer=layer, batch_size=3) for layer in layers]
    serial = [extractor.fit_transform(pictures) for extractor in extractors]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda e: e.fit_transform(pictures), extractors * 8))
    for result, expected in zip(results, serial * 8, strict=True):
        np.testing.assert_array_equal(result, expected)


def test_clones_share_one_copy_of_the_network(network):
    first = clone(FeatureExtractor(network))
    assert isinstance(first.backbone, FrozenBackbone)
    assert clone(first).backbone is first.backbone


def test_refitting_on_pictures_forgets_the_columns_of_flat_rows(network, pictures):
    extractor = FeatureExtractor(network, input_shape=(1, 12, 12)).fit(pictures.reshape(23, -1))
    assert extractor.n_features_in_ == 144
    assert not hasattr(extractor.fit(pictures), "n_features_in_")


def test_progress_is_shown_when_asked_for(network, pictures, capsys):
    extractor = FeatureExtractor(network, batch_size=10, verbose=1).fit(pictures)
    extractor.transform(pictures)
    assert "Features: 100%" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"pooling": "mean"}, r"pooling must be one of \['avg', 'max', 'cls', 'flatten'\], a func"),
        ({"precision": "half"}, r"precision must be one of \['float32', .*\], got 'half'"),
        ({"preprocessing": 3}, "preprocessing must be None or a function of one picture, got 3"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, got 0"),
        ({"batch_size": 2.5}, "batch_size must be a whole number of at least 1, got 2.5"),
        ({"num_workers": -1}, "num_workers must be a whole number of at least 0, got -1"),
        ({"input_shape": 28}, "input_shape must be None or a tuple of positive whole .*, got 28"),
        ({"input_shape": (1, 0, 2)}, r"input_shape must be .*, got \(1, 0, 2\)"),
        ({"memory": 3}, "memory must be None, a folder or a joblib.Memory, got 3"),
        ({"device": "gpu"}, r"device must be 'auto' or one of \[.*'cpu'\], got 'gpu'"),
        (
            {"layer": "hiden"},
            r"layer 'hiden' does not exist in the network; near names: \['hidden'",
        ),
        ({"layer": []}, r"layer must be None, a name, or distinct names in a list, .* got \[\]"),
        ({"layer": ["head", "head"]}, "layer must be None, a name, or distinct names in a list"),
    ],
)
def test_a_wrong_parameter_is_named_before_anything_starts(network, pictures, parameters, message):
    with pytest.raises(ValueError, match=message):
        FeatureExtractor(network, **parameters).fit(pictures)


@pytest.mark.parametrize("call", ["transform", "iter_transform", "get_feature_names_out"])
def test_unfitted_use_is_refused(network, pictures, call):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(FeatureExtractor(network), call)(pictures)


def test_an_activation_that_is_not_finite_names_the_sample_and_the_layer(network, pictures):
    extractor = FeatureExtractor(network, layer=["hidden", None], batch_size=4).fit(pictures)
    pictures[13] = 3e38
    with pytest.raises(ValueError, match="sample 13 has NaN or infinite activations in layer 'hid"):
        extractor.transform(pictures)


def test_a_network_that_gives_nan_is_refused_in_fit(network, pictures):
    with torch.no_grad():
        network.head.bias[0] = np.nan
    with pytest.raises(ValueError, match=r"sample 0 has NaN or infinite activations in .*'output'"):
        FeatureExtractor(network).fit(pictures)


def test_a_shape_that_the_network_refuses_is_told_in_fit(network):
    with pytest.raises(ValueError, match=r"refuses samples of shape \(3, 12, 12\).*Check input_sh"):
        FeatureExtractor(network).fit(np.zeros((2, 3, 12, 12), np.float32))


def test_bfloat16_is_near_float32_and_comes_back_as_float32(network, pictures):
    wide = FeatureExtractor(network).fit_transform(pictures)
    narrow = FeatureExtractor(network, precision="bfloat16").fit_transform(pictures)
    assert narrow.dtype == np.float32
    assert 0 < np.abs(narrow - wide).max() < 0.03


def test_a_network_in_another_type_gets_its_input_in_that_type(network, pictures):
    wide = FeatureExtractor(network).fit_transform(pictures)
    double = FeatureExtractor(network.double()).fit_transform(pictures)
    assert double.dtype == np.float32
    np.testing.assert_allclose(double, wide, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.skipif(not which("c++"), reason="torch.compile needs a C++ compiler on a CPU")
# torch's compiler warns of torch's own code when it is imported
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:Skipping serialization of skipfiles:UserWarning")  # torch 2.6
def test_a_compiled_network_gives_the_same_features_and_is_compiled_once(network, pictures):
    eager = FeatureExtractor(network, batch_size=8, device="cpu").fit(pictures)
    compiled = FeatureExtractor(network, batch_size=8, device="cpu", compile=True).fit(pictures)
    np.testing.assert_allclose(
        compiled.transform(pictures), eager.transform(pictures), rtol=1e-5, atol=1e-6
    )
    stats = torch._dynamo.utils.counters["stats"]
    n_graphs = stats["unique_graphs"]
    assert n_graphs >= 1
    pickle.loads(pickle.dumps(compiled)).transform(pictures)
    assert stats["unique_graphs"] == n_graphs


def test_a_hidden_layer_is_not_compiled(network, pictures):
    extractor = FeatureExtractor(network, layer=["hidden", None], compile=True)
    with pytest.raises(ValueError, match="compile=True gives the network's output only, but layer"):
        extractor.fit(pictures)


class _Viewing(nn.Module):
    """Flattens its maps by `view`, which takes no maps that have the channels last in memory."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 6, 3))
        self.head = nn.Linear(384, 5)

    def forward(self, X):
        return self.head(self.body(X).view(len(X), -1))


def test_a_network_that_calls_view_has_its_channels_first(pictures):
    network = _Viewing()
    with pytest.raises(RuntimeError, match="view size is not compatible"):
        FrozenBackbone(network).network(channels_last=True)(torch.as_tensor(pictures))
    extractor = FeatureExtractor(network, batch_size=7, device="cpu").fit(pictures)
    assert not extractor.backbone_.learned.takes_channels_last
    features = extractor.transform(pictures)
    np.testing.assert_allclose(features, _outputs(network, pictures), rtol=1e-5, atol=1e-6)


class _Layout(nn.Module):
    """Tells by its outputs whether its maps have the channels last in memory."""

    def __init__(self, n_channels):
        super().__init__()
        self.conv = nn.Conv2d(n_channels, 4, 3)

    def forward(self, X):
        is_last = self.conv(X).is_contiguous(memory_format=torch.channels_last)
        return torch.full((len(X), 1), float(is_last))


@pytest.mark.parametrize("n_channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_maps_have_the_channels_last_on_a_cpu_also_those_of_grey_pictures(n_channels, dtype):
    X = np.ones((5, n_channels, 12, 12), dtype)
    extractor = FeatureExtractor(_Layout(n_channels), batch_size=2, device="cpu")
    np.testing.assert_array_equal(extractor.fit_transform(X), np.ones((5, 1)))


def test_a_wrong_shape_says_nothing_about_the_order_in_memory(network, pictures):
    frozen = FrozenBackbone(network)
    message = r"the network refuses samples of shape .*one picture to a tensor \(c, h, w\)"
    with pytest.raises(ValueError, match=message):
        FeatureExtractor(frozen, device="cpu").fit(np.repeat(pictures, 2, axis=1))
    assert frozen.learned.takes_channels_last


class _Sizes(nn.Module):
    """Remembers how many pictures it got at once."""

    seen: list[int] = []

    def forward(self, X):
        self.seen.append(len(X))
        return X.flatten(1)


def test_large_pictures_pass_a_few_at_once_on_a_cpu(monkeypatch):
    monkeypatch.setattr("sklearn_densconf.features._extraction.VALUES_AT_ONCE", 400)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    X = np.random.default_rng(0).random((23, 1, 12, 12), np.float32)  # 144 values each: 5 at once
    extractor = FeatureExtractor(_Sizes(), batch_size=11, device="cpu").fit(X)
    _Sizes.seen.clear()
    np.testing.assert_array_equal(extractor.transform(X), X.reshape(23, -1))
    assert _Sizes.seen == [4, 4, 3, 4, 4, 3, 1]
    assert [len(part) for part in extractor.iter_transform(X)] == [11, 11, 1]
