"""A network with its layers and their pooling as one module: what `FeatureExtractor` gives."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from networks import Convolutional
from torch import nn

from sklearn_densconf import FeatureExtractor
from sklearn_densconf.features._as_module import as_module
from sklearn_densconf.features._parameters import by_layer
from sklearn_densconf.features.inputs import Named


def _amax(maps):
    return maps.amax((2, 3))


LAYERS = [
    {"layer": None},
    {"layer": "penultimate"},
    {"layer": ["body", "hidden"]},
    {"layer": ["body.1", "penultimate", "output"], "pooling": {"body.1": "max"}},
    {"layer": ["body.0", "body"], "pooling": {"body.0": "flatten", "body": _amax}},
]


@pytest.fixture
def X():
    return torch.from_numpy(np.random.default_rng(0).normal(size=(6, 1, 12, 12)).astype("float32"))


def _made(X, network=None, **parameters):
    extractor = FeatureExtractor(network or Convolutional(), device="cpu", **parameters).fit(X)
    how = by_layer(extractor.pooling, extractor.channel_axis, extractor._layers)
    return extractor, as_module(extractor.backbone_, *how, X[:1])


def _features(module, X):
    return torch.cat(module(X), 1).detach().numpy()


@pytest.mark.parametrize("parameters", LAYERS)
def test_the_module_gives_what_the_extractor_gives(X, parameters):
    extractor, module = _made(X, **parameters)

    wanted = extractor.transform(X)

    assert module.names == list(extractor.feature_groups_)
    assert np.allclose(_features(module, X), wanted, rtol=0, atol=1e-6)
    assert np.allclose(_features(module, X[:1]), wanted[:1], rtol=0, atol=1e-6)


@pytest.mark.skipif(torch.__version__ < (2, 9), reason="older torch exports by another tracer")
@pytest.mark.parametrize("parameters", LAYERS)
def test_it_can_be_exported_for_batches_of_any_size(X, parameters):
    extractor, module = _made(X, **parameters)

    sizes = (({0: torch.export.Dim("n")},),)
    exported = torch.export.export(module, (X[:2],), dynamic_shapes=sizes).module()

    assert np.allclose(_features(exported, X), extractor.transform(X), rtol=0, atol=1e-6)


def test_it_can_be_compiled_whole(X):
    extractor, module = _made(X, layer=["body", "penultimate"])

    compiled = torch.compile(module, fullgraph=True, backend="eager")

    assert np.allclose(_features(compiled, X), extractor.transform(X), rtol=0, atol=1e-6)


def test_copies_and_pickles_have_hooks_of_their_own(X):
    extractor, module = _made(X, layer=["body", "penultimate"])

    for made in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert np.allclose(_features(made, X), extractor.transform(X), rtol=0, atol=1e-6)


def test_threads_do_not_mix_their_samples(X):
    _, module = _made(X, layer=["body", "hidden"])
    batches = [X + shift for shift in range(16)]
    wanted = [_features(module, batch) for batch in batches]

    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda batch: _features(module, batch), batches * 4))

    for values, right in zip(got, wanted * 4, strict=True):
        assert np.allclose(values, right, rtol=0, atol=1e-6)


def test_a_cast_changes_the_module_alone(X):
    extractor, module = _made(X, layer=["body", None])
    before = extractor.transform(X)

    halved = _features(module.half(), X)

    assert halved.dtype == np.float32
    assert 0 < np.abs(halved - before).max() < 1e-2
    assert np.array_equal(extractor.transform(X), before)


def test_it_stays_in_evaluation_mode(X):
    extractor, module = _made(X)

    module.train()

    assert np.allclose(_features(module, X), extractor.transform(X), rtol=0, atol=1e-6)


@pytest.mark.parametrize("pooling", ["avg", "max", _amax])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_activation_that_is_not_finite_makes_its_row_so(X, pooling, value):
    _, module = _made(X, nn.Conv2d(1, 3, 1), pooling=pooling, channel_axis=1)
    spoilt = X.clone()
    spoilt[2, 0, 5, 5] = value

    (rows,) = module(spoilt)

    assert not torch.isfinite(rows[2]).any()
    assert torch.equal(rows[[0, 1, 3, 4, 5]], module(X)[0][[0, 1, 3, 4, 5]])


class Tokens(nn.Module):
    """Embeds tokens, and gives them and a class."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(9, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, tokens, attention_mask):
        return self.head(self.embedding(tokens))[:, 0]


@pytest.mark.parametrize("pooling", ["avg", "max", "cls"])
def test_tokens_that_are_padding_do_not_count(pooling):
    generator = np.random.default_rng(0)
    mask = np.array([[1, 1, 1, 1], [0, 1, 1, 1], [1, 1, 0, 0]])
    X = {"tokens": generator.integers(0, 9, (3, 4)), "attention_mask": mask}
    extractor = FeatureExtractor(Tokens(), layer="embedding", pooling=pooling).fit(X)
    named = Named({name: torch.from_numpy(values) for name, values in X.items()})
    module = as_module(extractor.backbone_, {"embedding": pooling}, {}, named)

    (rows,) = module(**named.tensors)

    assert np.allclose(rows.detach().numpy(), extractor.transform(X), rtol=0, atol=1e-6)


def test_a_network_that_cannot_be_copied_is_refused(X):
    extractor = FeatureExtractor("built:scripted", device="cpu").fit(X)

    with pytest.raises(TypeError, match=r"cannot be made a module of.*Pass the torch.nn.Module"):
        as_module(extractor.backbone_, {"": "avg"}, {}, X)
