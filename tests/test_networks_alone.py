"""Features are those of the network itself in evaluation mode, whatever else it does."""

import copy
import pickle
import warnings

import joblib
import numpy as np
import pytest
import torch
from networks import Convolutional, Doubling
from torch import nn

from sklearn_densconf import FeatureExtractor
from sklearn_densconf.features import FrozenBackbone

pytestmark = pytest.mark.usefixtures("frozen_unchanged")
X = torch.rand(6, 1, 12, 12, generator=torch.Generator().manual_seed(0))
ROWS = X.flatten(1)[:, :6].contiguous()


def _used(network):
    """Give batch norms statistics that differ from those of any batch."""
    for part in network.modules():
        if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)):
            part.running_mean.uniform_(-1, 1)
            part.running_var.uniform_(0.5, 2)
    return network


def _hooked(network, layer, X):
    """Return what a plain hook sees in evaluation mode, averaged over places."""
    seen = []
    network = copy.deepcopy(network).eval()
    network.get_submodule(layer).register_forward_hook(lambda *args: seen.append(args[2].clone()))
    with torch.inference_mode():
        network(X)
    return seen[0].mean((2, 3)) if seen[0].ndim == 4 else seen[0]


def _closest(features, expected):
    return np.abs(features - expected.numpy()).max() / expected.abs().max().item()


# A1: every module of every replica is in evaluation mode.


def _feature_extractor(network, *, train):
    library = pytest.importorskip("torchvision.models.feature_extraction")
    return library.create_feature_extractor(network, {"body.4": "maps"}).train(train)


class _Stubborn(nn.Module):
    """Its `train` keeps its batch norm in training mode."""

    def __init__(self):
        super().__init__()
        self.body = Convolutional().body

    def train(self, mode=True):
        super().train(mode)
        self.body[1].training = True
        return self

    def forward(self, X):
        return self.body(X)


EVALUATED = {
    "two graphs, in evaluation": lambda: _feature_extractor(_used(Convolutional()), train=False),
    "two graphs, in training": lambda: _feature_extractor(_used(Convolutional()), train=True),
    "a graph": lambda: torch.fx.symbolic_trace(_used(Convolutional())),
    "a graph within a network": lambda: nn.Sequential(
        torch.fx.symbolic_trace(_used(Convolutional()))
    ),
    "a stubborn train()": lambda: _used(_Stubborn()),
}


@pytest.mark.parametrize("make", EVALUATED.values(), ids=EVALUATED)
def test_every_module_of_a_replica_is_in_evaluation_mode(make):
    network = make()
    replica = FrozenBackbone(network).network()
    assert not any(part.training for part in replica.modules())
    layer = next(name for name, part in network.named_modules() if isinstance(part, nn.BatchNorm2d))
    plain = Convolutional()
    plain.load_state_dict({**plain.state_dict(), **_state_of(network)})
    expected = _hooked(plain, "body.1", X)
    for batch_size in (6, 1):
        features = FeatureExtractor(network, layer=layer, batch_size=batch_size).fit_transform(X)
        assert _closest(features, expected) < 1e-5


def _state_of(network):
    """Return the tensors of a network under the names of `Convolutional`."""
    return {name.removeprefix("0."): tensor for name, tensor in network.state_dict().items()}


def test_a_network_of_timm_that_is_a_graph_gives_its_features():
    timm = pytest.importorskip("timm")
    settings = {"pretrained": False, "features_only": True, "out_indices": (1,)}
    torch.manual_seed(0)
    network = _used(timm.create_model("resnet18", feature_cls="fx", **settings))
    pictures = torch.rand(3, 3, 64, 64)
    with torch.inference_mode():
        expected = copy.deepcopy(network).eval()(pictures)[0].mean((2, 3))
    features = FeatureExtractor(network).fit_transform(pictures)
    assert _closest(features, expected) < 1e-5


# A2: what a forward pass writes is gone with its replica.


class _Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("n", torch.zeros(()))
        self.plain = torch.zeros(1)
        self.linear = nn.Linear(6, 2)

    def forward(self, X):
        self.n += 1
        self.plain += 1
        return self.linear(X) + self.n + self.plain


class _Renorming(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(9, 4, max_norm=0.5)

    def forward(self, X):
        return self.words(X).flatten(1)


@pytest.mark.filterwarnings("ignore:the features of a sample depend")
def test_a_forward_pass_that_writes_to_buffers_gives_the_same_again():
    extractor = FeatureExtractor(_Counting()).fit(ROWS)
    first, second = extractor.transform(ROWS), extractor.transform(ROWS)
    np.testing.assert_array_equal(first, second)
    with torch.inference_mode():
        expected = extractor.backbone_.network().linear(ROWS) + 2
    np.testing.assert_allclose(first, expected, rtol=1e-5, atol=1e-6)


def test_an_embedding_that_renorms_its_weights_does_not_write_to_the_stored_ones():
    network = _Renorming()
    before = network.words.weight.detach().clone()
    features = FeatureExtractor(network).fit_transform(np.array([[1, 2], [3, 8]]))
    assert (network.words.weight == before).all()
    norms = np.linalg.norm(features.reshape(4, 4), axis=1)
    np.testing.assert_allclose(norms, before[[1, 2, 3, 8]].norm(dim=1).clamp(max=0.5), 1e-3)


# A3: integers stay integers where the network takes them.


class _Identified(nn.Module):
    """What is left of large whole numbers, in three digits that float32 holds."""

    def __init__(self, dtype=torch.float32):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, dtype=dtype))

    def forward(self, X):
        X = X.long()
        return torch.cat([X // 10**6, X // 1000 % 1000, X % 1000], 1).float()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint32, torch.int64])
def test_integers_arrive_as_they_are(dtype, kind):
    numbers = [[20_000], [29_001], [30_521], [2**24 + 1], [2**30 + 1]]
    given = torch.tensor(numbers, dtype=kind) if kind is torch.int64 else np.array(numbers, kind)
    features = FeatureExtractor(_Identified(dtype)).fit_transform(given)
    assert (features @ [10**6, 1000, 1] == np.ravel(numbers)).all()


def test_items_of_a_dataset_that_are_integers_arrive_as_they_are():
    items = [torch.tensor([[2**24 + 1]]), torch.tensor([[20_001]])]
    features = FeatureExtractor(nn.Sequential(nn.Flatten(), _Identified())).fit_transform(items)
    assert (features @ [10**6, 1000, 1] == [2**24 + 1, 20_001]).all()


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int64, bool])
def test_a_network_that_refuses_integers_gets_floats_of_the_same_values(dtype):
    whole = np.array([[1, 0, 1], [100, 7, 50]]).astype(dtype)
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    expected = FeatureExtractor(network).fit_transform(whole.astype(np.float32))
    extractor = FeatureExtractor(network).fit(whole)
    np.testing.assert_allclose(extractor.transform(whole), expected, rtol=1e-5, atol=1e-6)
    assert not extractor.backbone_.learned.takes_integers


def test_narrow_integers_do_not_overflow():
    numbers = np.array([[100, -128]], np.int8)
    np.testing.assert_array_equal(
        FeatureExtractor(Doubling()).fit_transform(numbers), [[200, -256]]
    )


# A14: complex numbers are refused in every form.

COMPLEX = {
    "array": lambda: ROWS.numpy() + 1j,
    "tensor": lambda: ROWS + 1j,
    "tensor without imaginary part": lambda: ROWS.to(torch.complex64),
    "list of tensors": lambda: list(X + 1j),
    "list of arrays": lambda: list(X.numpy() + 1j),
}


@pytest.mark.parametrize("make", COMPLEX.values(), ids=COMPLEX)
def test_complex_numbers_are_refused(make):
    with pytest.raises(
        (ValueError, TypeError), match=r"Complex data not supp|float tensor, got .*co"
    ):
        FeatureExtractor(nn.Flatten()).fit(make())


# A18: a preprocessing must give floats.


@pytest.mark.parametrize("dtype", [torch.int16, torch.uint8, torch.int64, torch.bool])
def test_a_preprocessing_that_gives_integers_is_refused(dtype):
    extractor = FeatureExtractor(nn.Flatten(), preprocessing=lambda picture: picture.to(dtype))
    with pytest.raises(TypeError, match=r"float tensor, got a tensor of torch\.\w+ for sample 0"):
        extractor.fit(X)


def test_pictures_of_16_bits_are_refused_where_a_preprocessing_makes_integers_of_them():
    transforms = pytest.importorskip("torchvision.transforms")
    from PIL import Image

    picture = Image.fromarray(np.full((4, 4), 40_000, np.uint16))
    extractor = FeatureExtractor(nn.Flatten(), preprocessing=transforms.ToTensor())
    with pytest.raises(TypeError, match="float tensor, got a tensor of torch"):
        extractor.fit([picture])


# A19: programs that were captured in training mode.


def _captured(*, train, within=False):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 2))
    _used(network).train(train)
    shapes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(network, (ROWS[:3],), dynamic_shapes=shapes).module()
    return network, nn.Sequential(program) if within else program


@pytest.mark.filterwarnings("ignore:`isinstance\\(treespec:FutureWarning")
@pytest.mark.parametrize("within", [False, True])
def test_a_program_captured_in_training_mode_is_refused(within):
    _, program = _captured(train=True, within=within)
    with pytest.raises(
        TypeError, match=r"captured in training mode: .*Call eval\(\) on the network"
    ):
        FrozenBackbone(program)


@pytest.mark.filterwarnings("ignore:`isinstance\\(treespec:FutureWarning")
def test_a_program_captured_in_evaluation_mode_computes_and_is_saved(tmp_path):
    network, program = _captured(train=False)
    with torch.inference_mode():
        expected = network(ROWS).numpy()
    extractor = FeatureExtractor(program).fit(ROWS)
    np.testing.assert_allclose(extractor.transform(ROWS), expected, rtol=1e-5, atol=1e-6)
    joblib.dump(extractor, tmp_path / "extractor.joblib")
    loaded = joblib.load(tmp_path / "extractor.joblib")
    np.testing.assert_allclose(loaded.transform(ROWS), expected, rtol=1e-5, atol=1e-6)
    assert loaded.backbone_.fingerprint == extractor.backbone_.fingerprint


def _dropping(X):
    return nn.functional.dropout(X, 0.5, True)


class _Functional(nn.Module):
    def forward(self, X):
        return nn.functional.dropout(X, training=self.training)


@pytest.mark.parametrize("make", [lambda: _dropping, _Functional])
def test_a_graph_traced_in_training_mode_is_refused(make):
    with pytest.raises(TypeError, match="captured in training mode: its operation 'dropout'"):
        FrozenBackbone(torch.fx.symbolic_trace(make()))
    assert FrozenBackbone(torch.fx.symbolic_trace(_Functional().eval())).network()(ROWS).equal(ROWS)


# A23: samples that depend on their batch.


class _ByBatch(nn.Module):
    """One of several ways in which a batch matters, behind a linear layer."""

    def __init__(self, way):
        super().__init__()
        self.way = way
        self.linear = nn.Linear(6, 6)
        self.across = nn.Identity()

    def forward(self, X):
        hidden = self.linear(X)
        return self.across(self.way(hidden))


def _batch_normed(X):
    return nn.functional.batch_norm(X, None, None, training=True) if len(X) > 1 else X


DEPENDENT = {
    "batch norm in training mode": _batch_normed,
    "attention along the batch": lambda X: torch.softmax(X @ X.T, 1) @ X,
    "a scale of the batch": lambda X: X / X.abs().max(),
    "dropout that is never off": lambda X: nn.functional.dropout(X, 0.5),
}


@pytest.mark.parametrize("way", DEPENDENT.values(), ids=DEPENDENT)
def test_samples_that_depend_on_their_batch_are_found(way):
    with pytest.warns(
        UserWarning, match=r"depend on the others of its batch: by .*, from layer 'acr"
    ):
        FeatureExtractor(_ByBatch(way)).fit(ROWS)


def test_dynamic_quantisation_is_found():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.ao is deprecated
        network = torch.ao.quantization.quantize_dynamic(
            nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2)).eval(), {nn.Linear}
        )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        FeatureExtractor(network).fit(ROWS)
    assert any("dynamic quantisation" in str(warning.message) for warning in caught)


def test_sequences_along_the_first_axis_are_found():
    with pytest.warns(UserWarning, match="attention or recurrence along the first axis"):
        FeatureExtractor(nn.LSTM(3, 2), pooling="flatten").fit(torch.rand(4, 5, 3))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_networks_of_independent_samples_pass_without_a_warning(precision):
    for network in (Convolutional(), Convolutional().bfloat16(), Convolutional().double()):
        FeatureExtractor(network, precision=precision).fit(X)


def test_a_network_that_refuses_the_outlier_is_not_warned_of():
    class Strict(nn.Module):
        def forward(self, X):
            if (X < 0).any():
                raise ValueError("negative")
            return X

    np.testing.assert_array_equal(FeatureExtractor(Strict()).fit_transform(ROWS), ROWS)


# B4: parametrised networks.


def _parametrised():
    torch.manual_seed(0)
    parametrizations = nn.utils.parametrizations
    return nn.Sequential(
        parametrizations.weight_norm(nn.Linear(6, 8)),
        nn.ReLU(),
        parametrizations.spectral_norm(nn.Linear(8, 8)),
        nn.ReLU(),
        parametrizations.orthogonal(nn.Linear(8, 8)),
    )


def test_parametrised_networks_are_held_with_the_weights_they_have():
    network = _parametrised()
    network(ROWS)
    before = copy.deepcopy(network.state_dict())
    network.train()
    frozen = FrozenBackbone(network)
    assert all((before[name] == tensor).all() for name, tensor in network.state_dict().items())
    assert network[0].training
    with torch.inference_mode():
        expected = network.eval()(ROWS)
        np.testing.assert_allclose(frozen.network()(ROWS), expected, rtol=1e-5, atol=1e-6)
        loaded = pickle.loads(pickle.dumps(frozen))
        np.testing.assert_allclose(loaded.network()(ROWS), expected, rtol=1e-5, atol=1e-6)
    assert FrozenBackbone(network).fingerprint == frozen.fingerprint


def test_weight_norm_by_hooks_is_held_too():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        network = nn.Sequential(nn.utils.weight_norm(nn.Linear(6, 2)))
    with torch.inference_mode():
        expected = network(ROWS)
    loaded = pickle.loads(pickle.dumps(FrozenBackbone(network)))
    np.testing.assert_allclose(loaded.network()(ROWS).detach(), expected, rtol=1e-5, atol=1e-6)


# Graphs are saved by joblib, too: its own pickler cannot follow them.


def test_graphs_are_saved_by_joblib(tmp_path):
    deep = nn.Sequential(*(nn.Linear(6, 6) for _ in range(200)))
    for network in (torch.fx.symbolic_trace(deep), nn.Sequential(torch.fx.symbolic_trace(deep))):
        frozen = FrozenBackbone(network)
        joblib.dump(frozen, tmp_path / "network.joblib")
        loaded = joblib.load(tmp_path / "network.joblib")
        torch.testing.assert_close(loaded.network()(ROWS), frozen.network()(ROWS))
        assert loaded.fingerprint == frozen.fingerprint == FrozenBackbone(network).fingerprint


def test_a_network_that_compares_samples_is_refused():
    network = _ByBatch(lambda X: X @ X.T)
    with pytest.raises(ValueError, match="gives 1 features of a sample alone and 4 of one among 4"):
        FeatureExtractor(network).fit(ROWS)


def test_a_network_that_draws_random_numbers_is_found():
    with pytest.warns(UserWarning, match="and random numbers, as of dropout"):
        FeatureExtractor(_ByBatch(lambda X: X + torch.rand(()))).fit(ROWS)
    with pytest.warns(UserWarning, match="and random numbers, as of dropout"):
        FeatureExtractor(_ByBatch(lambda X: X + torch.rand(len(X), 1))).fit(ROWS)
