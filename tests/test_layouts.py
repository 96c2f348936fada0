"""Maps and tokens become rows over the right axes, or it is asked which they are."""

import numpy as np
import pytest
import torch
from networks import Convolutional, Doubling
from torch import nn

from sklearn_densconf import FeatureExtractor

pytestmark = pytest.mark.usefixtures("frozen_unchanged")


def _seen(network, layer, X):
    """Return what a plain hook sees of a layer in evaluation mode."""
    seen = []
    part = network.eval().get_submodule(layer)
    handle = part.register_forward_hook(lambda *args: seen.append(args[2]))
    with torch.inference_mode():
        network(X)
    handle.remove()
    return (seen[0][0] if isinstance(seen[0], tuple) else seen[0]).clone()


def _assert_averaged(network, layer, X, channels):
    maps = _seen(network, layer, X)
    assert maps.ndim > 2
    places = tuple(axis for axis in range(1, maps.ndim) if axis != channels % maps.ndim)
    features = FeatureExtractor(network, layer=layer).fit_transform(X)
    np.testing.assert_allclose(features, maps.mean(places).numpy(), rtol=1e-4, atol=1e-5)


FIRST, LAST = 1, -1


def _swin(models):
    return models.SwinTransformer([4, 4], 24, [1, 1], [2, 2], window_size=[4, 4])


def _convnext(models):
    block = models.convnext.CNBlockConfig
    return models.ConvNeXt([block(24, 48, 1), block(48, None, 1)])


def _vit(models):
    return models.VisionTransformer(64, 16, 1, 2, 24, 48)


def _densenet(models):
    return models.DenseNet(4, (2, 2), 8)


def _named(name):
    return lambda models: models.get_model(name, weights=None)


TORCHVISION = {
    "swin: norm": (_swin, "norm", LAST),
    "swin: block": (_swin, "features.1.0", LAST),
    "swin: permuted": (_swin, "permute", FIRST),
    "convnext: block": (_convnext, "features.1.0", FIRST),
    "convnext: linear layer": (_convnext, "features.1.0.block.3", LAST),
    "convnext: layer norm": (_convnext, "features.1.0.block.2", LAST),
    "convnext: its norm of maps": (_convnext, "features.0.1", FIRST),
    "vit: encoder": (_vit, "encoder", LAST),
    "vit: attention": (_vit, "encoder.layers.encoder_layer_0.self_attention", LAST),
    "densenet: branches side by side": (_densenet, "features.denseblock1", FIRST),
    "mobilenet: squeeze": (_named("mobilenet_v3_small"), "features.1.block.1", FIRST),
    "shufflenet: shuffled": (_named("shufflenet_v2_x0_5"), "stage2", FIRST),
    "resnet: pooled": (_named("resnet18"), "maxpool", FIRST),
    "squeezenet: branches, pooled": (_named("squeezenet1_1"), "features.5", FIRST),
}


@pytest.mark.parametrize(("make", "layer", "channels"), TORCHVISION.values(), ids=TORCHVISION)
def test_layers_of_torchvision_are_averaged_over_places(make, layer, channels):
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    _assert_averaged(make(models), layer, torch.rand(2, 3, 64, 64), channels)


SMALL_VIT = {"img_size": 64, "depth": 1, "embed_dim": 24, "num_heads": 2}
SMALL_SWIN = {"img_size": 64, "window_size": 4, "embed_dim": 24, "depths": (1, 1)}
SMALL_CONVNEXT = {"depths": (1, 1, 1, 1), "dims": (8, 16, 24, 32)}
TIMM = {
    "convnext: stage": ("convnext_atto", SMALL_CONVNEXT, "stages.1", FIRST),
    "convnext: its norm of maps": (
        "convnext_atto",
        SMALL_CONVNEXT,
        "stages.1.downsample.0",
        FIRST,
    ),
    "vit: block": ("vit_tiny_patch16_224", SMALL_VIT, "blocks.0", LAST),
    "vit: patches": ("vit_tiny_patch16_224", SMALL_VIT, "patch_embed", LAST),
    "swin: stage": (
        "swin_tiny_patch4_window7_224",
        SMALL_SWIN | {"num_heads": (2, 2)},
        "layers.1",
        LAST,
    ),
    "mixer: block": (
        "mixer_s32_224",
        {"img_size": 64},
        "blocks.0",
        LAST,
    ),
}


@pytest.mark.parametrize(("name", "given", "layer", "channels"), TIMM.values(), ids=TIMM)
def test_layers_of_timm_are_averaged_over_places(name, given, layer, channels):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    network = timm.create_model(name, pretrained=False, **given)
    _assert_averaged(network, layer, torch.rand(2, 3, 64, 64), channels)


class _Sequences(nn.Module):
    """Signals (n, c, t) through convolutions, then recurrence and attention over (n, t, c)."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Sequential(nn.Conv1d(3, 16, 5), nn.BatchNorm1d(16), nn.ReLU())
        self.recurrence = nn.LSTM(16, 8, batch_first=True, bidirectional=True)
        self.attention = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.after = nn.Identity()

    def forward(self, X):
        hidden, _ = self.recurrence(self.convolution(X).transpose(1, 2))
        return self.after(self.attention(hidden))


SEQUENCES = {"convolution": FIRST, "recurrence": LAST, "attention": LAST, "after": LAST}


@pytest.mark.parametrize(("layer", "channels"), SEQUENCES.items())
def test_layers_of_signals_are_averaged_over_time(layer, channels):
    torch.manual_seed(0)
    _assert_averaged(_Sequences(), layer, torch.rand(3, 3, 50), channels)


def test_volumes_and_embedded_words():
    _assert_averaged(
        nn.Sequential(nn.Conv3d(1, 4, 3), nn.ReLU()), "1", torch.rand(2, 1, 5, 6, 7), 1
    )
    words = torch.randint(9, (3, 6))
    _assert_averaged(nn.Sequential(nn.Embedding(9, 4), nn.Dropout()), "1", words, LAST)


class _Transposing(nn.Module):
    """Moves the channels by a method, in no module's name."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(1, 4, 3)
        self.norm = nn.LayerNorm(4)
        self.after = nn.Identity()

    def forward(self, X):
        return self.after(self.norm(self.convolution(X).permute(0, 2, 3, 1)).permute(0, 3, 1, 2))


def test_channels_that_are_moved_are_found_by_their_number():
    for layer, channels in {"convolution": FIRST, "norm": LAST, "after": FIRST}.items():
        _assert_averaged(_Transposing(), layer, torch.rand(2, 1, 9, 8), channels)


ASKED = {
    "as many places as channels, moved within": (_Transposing, "", torch.rand(2, 1, 6, 6)),
    "nothing tells": (nn.Identity, "", torch.rand(2, 3, 5)),
    "cut into other shapes": (
        lambda: nn.Sequential(nn.Linear(6, 6), nn.Unflatten(1, (2, 3))),
        "1",
        torch.rand(2, 6),
    ),
}


@pytest.mark.parametrize(("make", "layer", "X"), ASKED.values(), ids=ASKED)
def test_what_cannot_be_known_is_asked_for(make, layer, X):
    network = make()
    with pytest.raises(
        ValueError, match=r"do not tell which axis .*: set channel_axis=1 if they co"
    ):
        FeatureExtractor(network, layer=layer or None).fit(X)
    maps = _seen(network, layer, X)
    for channels in (1, -1):
        places = tuple(axis for axis in range(1, maps.ndim) if axis != channels % maps.ndim)
        for given in (channels, {layer or None: channels}):
            extractor = FeatureExtractor(network, layer=layer or None, channel_axis=given)
            features = extractor.fit_transform(X)
            np.testing.assert_allclose(features, maps.mean(places).numpy(), 1e-5, 1e-6)
    flat = FeatureExtractor(network, layer=layer or None, pooling="flatten").fit_transform(X)
    np.testing.assert_allclose(flat, maps.flatten(1).numpy(), rtol=1e-5, atol=1e-6)


def test_the_axis_is_known_again_in_the_next_pass_and_asked_of_modules_once():
    extractor = FeatureExtractor(_Transposing(), layer=["norm", "after"])
    X = torch.rand(2, 1, 9, 8)
    first = extractor.fit_transform(X)
    learned = extractor.backbone_.learned.channel_axes
    assert learned == {("norm", 4): 3, ("after", 4): 1}
    np.testing.assert_array_equal(extractor.transform(X), first)


# Ways of pooling.

TOKENS = torch.rand(4, 5, 3, generator=torch.Generator().manual_seed(0))


def _largest(maps):
    return maps.flatten(1).amax(1, keepdim=True)


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ("avg", TOKENS.mean(1)),
        ("max", TOKENS.amax(1)),
        ("cls", TOKENS[:, 0]),
        ("flatten", TOKENS.flatten(1)),
        (_largest, TOKENS.amax((1, 2))[:, None]),
        ({"output": "cls"}, TOKENS[:, 0]),
        ({None: _largest}, TOKENS.amax((1, 2))[:, None]),
        ({}, TOKENS.mean(1)),
    ],
)
def test_pooling_makes_rows_of_tokens(pooling, expected):
    extractor = FeatureExtractor(nn.Identity(), pooling=pooling, channel_axis=-1)
    np.testing.assert_allclose(extractor.fit_transform(TOKENS), expected.numpy(), rtol=1e-6)


def test_every_layer_may_have_its_pooling():
    X = torch.rand(2, 1, 12, 12)
    network = Convolutional()
    layers = ["body.0", "body.3", "penultimate", None]
    pooling = {"body.3": "max", "body.0": _largest}
    extractor = FeatureExtractor(network, layer=layers, pooling=pooling)
    expected = [
        _largest(_seen(network, "body.0", X)),
        _seen(network, "body.3", X).relu().amax((2, 3)),  # an in-place ReLU follows
        _seen(network, "hidden", X).relu(),
        _seen(network, "head", X),
    ]
    widths = [part.stop - part.start for part in extractor.fit(X).feature_groups_.values()]
    assert widths == [1, 6, 8, 5]
    features = extractor.transform(X)
    np.testing.assert_allclose(features[:, 7:], np.hstack(expected[2:]), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(features[:, :1], expected[0], rtol=1e-5)
    np.testing.assert_allclose(np.maximum(features[:, 1:7], 0), expected[1], rtol=1e-5, atol=1e-7)


def test_poolings_of_other_code_have_other_features_in_memory(tmp_path):
    X = torch.rand(3, 4, 5)
    settings = {"channel_axis": -1, "memory": tmp_path}
    poolings = (_largest, lambda maps: maps.flatten(1).amin(1, keepdim=True), "avg", "max", "cls")
    for pooling in poolings:
        kept = FeatureExtractor(nn.Identity(), pooling=pooling, **settings).fit_transform(X)
        plain = FeatureExtractor(nn.Identity(), pooling=pooling, channel_axis=-1).fit_transform(X)
        np.testing.assert_array_equal(kept, plain)
    first = FeatureExtractor(nn.Identity(), channel_axis=1, memory=tmp_path).fit_transform(X)
    np.testing.assert_allclose(first, X.mean(2), rtol=1e-6)


REFUSED = {
    "name": (
        {"pooling": "mean"},
        r"pooling must be one of \['avg', 'max', 'cls', 'flatten'\], a fu",
    ),
    "mapping to nonsense": ({"pooling": {None: 3}}, r"pooling must be one of .*, got \{None: 3\}"),
    "unknown layer": (
        {"pooling": {"body": "max"}},
        r"pooling names the layers \['body'\], which are",
    ),
    "axis of samples": (
        {"channel_axis": 0},
        "channel_axis must be None, a whole number other than 0",
    ),
    "no such axis": (
        {"channel_axis": 4},
        r"channel_axis=4 is no axis of layer 'output', which gives",
    ),
    "axis of an unknown layer": (
        {"channel_axis": {"x": 1}},
        r"channel_axis names the layers \['x'\]",
    ),
    "first of maps": (
        {"pooling": "cls"},
        r"pooling='cls' takes tokens \(n, t, c\), got maps \(1, 2",
    ),
    "no rows": ({"pooling": lambda maps: maps}, r"pooling must make a tensor \(1, n_features\) of"),
    "no tensor": ({"pooling": np.asarray}, r"pooling must make a tensor .* got ndarray"),
}


@pytest.mark.parametrize(("parameters", "message"), REFUSED.values(), ids=REFUSED)
def test_a_wrong_pooling_or_axis_is_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        FeatureExtractor(Doubling(), **parameters).fit(torch.rand(2, 2, 3, 5))


def test_maps_in_a_list_of_a_network_that_has_channels_first_only():
    timm = pytest.importorskip("timm")
    network = timm.create_model("mobilenetv3_small_050", features_only=True).eval()
    X = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        expected = network(X)[0].mean((2, 3))
    np.testing.assert_allclose(FeatureExtractor(network).fit_transform(X), expected, 1e-4, 1e-5)


class SeriesNetwork(nn.Module):
    """Linear layers over patches of several series, and a batch norm inside a transpose."""

    def __init__(self):
        super().__init__()
        self.linear, self.norm = nn.Linear(8, 16), nn.BatchNorm1d(16)
        self.model = nn.Identity()
        self.head = nn.Linear(16, 2)

    def forward(self, x):
        maps = self.linear(x)  # (n, 3, 4, 16)
        flat = self.norm(maps.flatten(0, 1).transpose(1, 2)).transpose(1, 2)
        return self.head(self.model(flat.reshape(maps.shape)).mean((1, 2)))


def test_linear_layers_over_maps_tell_that_not_all_channels_come_first():
    _assert_averaged(SeriesNetwork(), "model", torch.rand(5, 3, 4, 8), channels=-1)
