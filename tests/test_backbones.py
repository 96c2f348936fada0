"""The backbones that a user can name: library networks, functions, skorch nets."""

import socket
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import skorch
import torch
from networks import Convolutional
from PIL import Image
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.validation import check_is_fitted
from torch import nn

from sklearn_densconf import FeatureExtractor, GaussianDensityClassifier
from sklearn_densconf._optional import import_optional
from sklearn_densconf.features._backbones import resolve
from sklearn_densconf.features._hub import _why_out_of_reach

GREY = np.random.default_rng(0).integers(0, 256, (4, 40, 50), np.uint8)


def test_a_function_is_called_once_in_a_process_with_its_own_random_weights(tmp_path, monkeypatch):
    (tmp_path / "built_once.py").write_text(
        "from torch import nn\n"
        "calls = []\n"
        "def build():\n"
        "    calls.append(1)\n"
        "    return nn.Linear(3, 2)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    X = np.ones((2, 3))
    torch.manual_seed(0)
    first = FeatureExtractor("built_once:build").fit_transform(X)
    torch.manual_seed(1)
    np.testing.assert_array_equal(FeatureExtractor("built_once:build").fit_transform(X), first)
    assert sys.modules["built_once"].calls == [1]


@pytest.mark.parametrize(
    ("backbone", "error", "message"),
    [
        ("vgg16", ValueError, "backbone must be 'torchvision:NAME', .* got 'vgg16'"),
        ("torchvision:", ValueError, "backbone must be 'torchvision:NAME', .* got 'torchvision:'"),
        ("nowhere.at.all:build", ImportError, "needs the module nowhere.at.all, which could not"),
        ("networks:nothing", ValueError, "'networks:nothing': networks has no function nothing"),
        ("networks:passes", TypeError, "missing 1 required positional argument"),
        ("os:getcwd", TypeError, r"a network must be a torch\.nn\.Module, got str"),
        (3, TypeError, "backbone must be a torch.nn.Module, a FrozenBackbone, .* got int"),
        (Convolutional, TypeError, "backbone must be a torch.nn.Module, .* got type"),
    ],
)
def test_a_backbone_that_cannot_be_built_is_refused(backbone, error, message):
    with pytest.raises(error, match=message):
        FeatureExtractor(backbone).fit(np.zeros((2, 3)))


@pytest.mark.parametrize("library", ["torchvision", "timm", "PIL", "skorch", "tqdm"])
def test_a_missing_library_is_told_with_the_extra_that_has_it(monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=rf"Mine needs {library}.* 'sklearn_densconf\[\w+\]'"):
        import_optional(library, "Mine")


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_a_library_backbone_without_its_library_names_the_extra(monkeypatch, library):
    for module in (library, f"{library}.models"):
        monkeypatch.setitem(sys.modules, module, None)
    message = (
        rf"'{library}:missing' needs {library}, .* pip install 'sklearn_densconf\[{library}\]'"
    )
    with pytest.raises(ImportError, match=message):
        FeatureExtractor(f"{library}:missing").fit(np.zeros((2, 3)))


def test_torchvisions_vgg16_takes_pictures_of_any_size_and_mode():
    torchvision = pytest.importorskip("torchvision")
    images = [Image.fromarray(GREY[0]), Image.new("RGB", (300, 260), (250, 3, 60))]
    extractor = FeatureExtractor(
        "torchvision:vgg16?weights=none", layer=["classifier.3", None], batch_size=1
    )
    features = extractor.fit_transform(images)
    assert features.shape == (2, 4096 + 1000)
    assert extractor.input_shape_ == (3, 224, 224)

    preprocess = torchvision.models.VGG16_Weights.DEFAULT.transforms()
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        torch.manual_seed(0)
        network = torchvision.models.vgg16(weights=None).eval()
        expected = network(preprocess(images[0].convert("RGB"))[None]).numpy()
    np.testing.assert_allclose(features[:1, 4096:], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "backbone", ["torchvision:mobilenet_v3_small?weights=none", "timm:test_vit?weights=none"]
)
def test_library_preprocessing_is_used_for_pixels_and_not_for_floats(backbone):
    pytest.importorskip(backbone.partition(":")[0])
    extractor = FeatureExtractor(backbone)
    from_pixels = extractor.fit_transform(GREY)
    assert extractor.input_shape_[0] == 3
    from_images = extractor.fit_transform([Image.fromarray(pixels) for pixels in GREY])
    np.testing.assert_allclose(from_pixels, from_images, rtol=1e-4, atol=1e-5)
    preprocess = resolve(backbone)[1]
    ready = torch.stack([preprocess(Image.fromarray(pixels)) for pixels in GREY])
    np.testing.assert_allclose(extractor.fit_transform(ready), from_pixels, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_a_name_that_the_library_does_not_know_is_answered_with_near_ones(library):
    pytest.importorskip(library)
    with pytest.raises(ValueError, match=f"no {library} network called 'resnet51'; .*'resnet50'"):
        FeatureExtractor(f"{library}:resnet51").fit(GREY)


@pytest.mark.parametrize("network", ["torchvision:resnet18", "timm:resnet18"])
def test_weights_that_the_library_does_not_know_are_refused_before_a_download(network):
    pytest.importorskip(network.partition(":")[0])
    with pytest.raises(ValueError, match=f"no weights of {network} called 'mine'; near names"):
        FeatureExtractor(f"{network}?weights=mine").fit(GREY)
    with pytest.raises(ValueError, match=r"only weights=\.\.\. is known, got 'weight=none'"):
        FeatureExtractor(f"{network}?weight=none").fit(GREY)


@pytest.fixture
def closed_hub(monkeypatch, tmp_path):
    """The Hub's client, its cache empty, at an address of this machine that nobody answers."""
    constants = pytest.importorskip("huggingface_hub.constants")
    with socket.socket() as unheard:  # bound, but not listening
        unheard.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{unheard.getsockname()[1]}")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        for name in ("http_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.delenv(name, raising=False)
        yield constants


def test_weights_of_a_hub_out_of_reach_are_refused_at_once(closed_hub):
    pytest.importorskip("timm")
    began = time.monotonic()
    with pytest.raises(OSError, match=r"could not load its weights \(http://127.*refused.*HF_HOME"):
        FeatureExtractor("timm:test_vit").fit(GREY)
    assert time.monotonic() - began < 20  # the client's own retries take 46 seconds
    assert closed_hub.HF_HUB_OFFLINE is False


def test_weights_in_the_cache_of_a_hub_out_of_reach_are_taken(closed_hub):
    timm, save_file = (
        pytest.importorskip("timm"),
        import_optional("safetensors.torch", "").save_file,
    )
    torch.manual_seed(3)
    network = timm.create_model("test_resnet")
    where = timm.models.get_pretrained_cfg("test_resnet").hf_hub_id
    stored = Path(closed_hub.HF_HUB_CACHE, f"models--{where.replace('/', '--')}")
    (stored / "snapshots" / "0123abc").mkdir(parents=True)
    (stored / "refs").mkdir()
    (stored / "refs" / "main").write_text("0123abc")
    save_file(network.state_dict(), stored / "snapshots" / "0123abc" / "model.safetensors")
    ready = torch.rand(2, 3, 160, 160)
    with torch.inference_mode():
        expected = network.eval()(ready)
    features = FeatureExtractor("timm:test_resnet").fit_transform(ready)
    np.testing.assert_allclose(features, expected.numpy(), rtol=1e-4, atol=1e-5)


def test_a_hub_behind_a_proxy_is_left_to_its_client(closed_hub, monkeypatch):
    assert "refused" in str(_why_out_of_reach(closed_hub.ENDPOINT))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert _why_out_of_reach(closed_hub.ENDPOINT) is None


def test_a_library_network_is_built_once_in_a_process():
    pytest.importorskip("torchvision")
    name = "torchvision:mobilenet_v3_small?weights=none"
    assert resolve(name)[0] is resolve(name)[0]


def _trainer(module=Convolutional, **parameters):
    settings = {
        "criterion": nn.CrossEntropyLoss,
        "max_epochs": 30,
        "lr": 0.3,
        "train_split": None,
        "verbose": 0,
        **parameters,
    }
    return skorch.NeuralNetClassifier(module, **settings)


@pytest.fixture(scope="module")
def stripes():
    """Pictures with stripes along one axis or the other, labelled in words."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 60)
    waves = np.tile([0.0, 0.0, 1.0, 1.0], 3)
    pictures = [
        np.tile(waves, (12, 1)) if label else np.tile(waves[:, None], (1, 12)) for label in y
    ]
    X = np.float32(pictures)[:, None] + rng.normal(0, 0.2, (60, 1, 12, 12)).astype(np.float32)
    return X, np.array(["down", "across"])[y]


def test_a_skorch_net_is_trained_inside_every_fold(stripes):
    torch.manual_seed(0)
    trainer = _trainer()
    pipe = make_pipeline(FeatureExtractor(trainer), GaussianDensityClassifier("tied"))
    scores = cross_val_score(pipe, *stripes, cv=3)
    assert scores.mean() > 0.9
    assert not trainer.initialized_


def test_a_skorch_net_is_trained_on_a_clone_and_gives_its_own_activations(stripes):
    X, y = stripes
    torch.manual_seed(0)
    trainer = _trainer().initialize()
    weights = trainer.module_.head.weight.clone()
    extractor = FeatureExtractor(trainer).fit(X, y)
    assert torch.equal(trainer.module_.head.weight, weights)
    trained = extractor.backbone_.network()
    assert not torch.equal(trained.head.weight, weights)
    with torch.inference_mode():
        expected = trained(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(extractor.transform(X), expected, rtol=1e-4, atol=1e-5)


def test_a_skorch_net_is_trained_on_pictures_that_are_read_one_by_one(stripes, tmp_path):
    X, y = stripes
    paths = [tmp_path / f"{number}.png" for number in range(len(X))]
    for path, pixels in zip(paths, X, strict=True):
        Image.fromarray(np.uint8(255 * pixels[0].clip(0, 1))).save(path)
    torch.manual_seed(0)
    pipe = make_pipeline(FeatureExtractor(_trainer()), GaussianDensityClassifier("tied"))
    assert pipe.fit(paths, y).score(paths, y) > 0.9


def test_a_regressor_is_trained_on_its_targets():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 3)).astype(np.float32)
    y = X @ np.float32([[1.0], [2.0], [3.0]])
    trainer = skorch.NeuralNetRegressor(
        nn.Linear,
        module__in_features=3,
        module__out_features=1,
        max_epochs=300,
        lr=0.1,
        train_split=None,
        verbose=0,
    )
    np.testing.assert_allclose(FeatureExtractor(trainer).fit_transform(X, y), y, atol=1e-2)


def test_a_skorch_net_needs_labels_one_for_each_sample(stripes):
    X, y = stripes
    extractor = FeatureExtractor(_trainer())
    assert extractor.__sklearn_tags__().target_tags.required
    with pytest.raises(ValueError, match="requires y to be passed, but the target y is None"):
        extractor.fit(X)
    with pytest.raises(ValueError, match="inconsistent numbers of samples: 60, 59"):
        extractor.fit(X, y[1:])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [({"layer": "haed"}, "layer 'haed' does not exist"), ({"device": "mars"}, "device must be")],
)
def test_a_wrong_parameter_is_told_before_training_starts(stripes, parameters, message):
    class Refuses(Convolutional):
        def forward(self, X):
            raise AssertionError("trained")

    with pytest.raises(ValueError, match=message):
        FeatureExtractor(_trainer(Refuses), **parameters).fit(*stripes)


def test_a_broken_picture_is_told_before_training_starts(tmp_path):
    class Refuses(Convolutional):
        def forward(self, X):
            raise AssertionError("trained")

    Image.fromarray(GREY[0]).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_text("bad")
    paths = [tmp_path / "good.png", tmp_path / "bad.png"]
    with pytest.raises(ValueError, match=r"cannot decode the picture '.*bad\.png'"):
        FeatureExtractor(_trainer(Refuses)).fit(paths, [0, 1])


def test_an_unfitted_extractor_builds_nothing():
    extractor = FeatureExtractor("nowhere:build")
    assert repr(extractor) == "FeatureExtractor(backbone='nowhere:build')"
    with pytest.raises(ValueError, match="not fitted"):
        check_is_fitted(extractor)
