"""The protocol of inputs is all that the extraction knows of them."""

import numpy as np
import pytest
import torch
from networks import Logging, rows_passed
from PIL import Image

from sklearn_densconf import FeatureExtractor
from sklearn_densconf.features.inputs import Source
from sklearn_densconf.features.inputs._pictures import Pictures, Plain
from sklearn_densconf.features.inputs._rows import Rows

MEMBERS = {name for name in vars(Source) if not name.startswith("_")} | {"__len__"}


class Counted:
    """A third input: sample i has the value i everywhere. It has the members of `Source` only."""

    shape = (64,)
    in_memory = False
    on_disk = False

    def __len__(self):
        return 10

    def name(self, index):
        return f"number {index}"

    def check(self, indices):
        assert (np.diff(indices) > 0).all()

    def batch(self, indices):
        return torch.tensor(indices, dtype=torch.float32)[:, None].expand(-1, 64)

    def digests(self, indices):
        return [int(index).to_bytes(16, "little") for index in indices]

    def content(self, indices):
        return None

    def labels(self):
        return None


@pytest.mark.parametrize("source", [Rows, Pictures, Counted])
def test_every_source_has_the_members_of_the_protocol(source):
    instance = {
        Rows: lambda: Rows(np.zeros((2, 3)), None),
        Pictures: lambda: Pictures([torch.zeros(1, 2, 2)], Plain(None), None),
        Counted: Counted,
    }[source]()
    assert {name for name in MEMBERS if hasattr(instance, name)} == MEMBERS


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_third_source_passes_and_is_remembered(tmp_path, monkeypatch, num_workers):
    log = tmp_path / "log"
    values = np.repeat(np.arange(10, dtype=np.float32)[:, None], 64, axis=1)
    expected = FeatureExtractor(Logging("/dev/null")).fit_transform(values)
    monkeypatch.setattr(
        "sklearn_densconf.features._extractor.open_source", lambda *_arguments: Counted()
    )
    extractor = FeatureExtractor(
        Logging(log), memory=tmp_path / "memory", batch_size=4, num_workers=num_workers
    )
    for _ in range(2):
        features = extractor.fit("counted").transform("counted")
        np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-5)
    assert rows_passed(log) == 10


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    paths = [tmp_path / "small.png", tmp_path / "large.png"]
    for path, size in zip(paths, (10, 11), strict=True):
        Image.new("L", (size, size)).save(path)
    extractor = FeatureExtractor(torch.nn.Flatten(), preprocessing=_seen).fit(paths[:1])
    with (
        pytest.warns(Image.DecompressionBombWarning),
        pytest.raises(ValueError, match=r"large\.png' has 11 x 11 pixels, .* = 100: raise that"),
    ):
        extractor.transform(paths)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert extractor.transform(paths).shape == (2, 1)


def _seen(picture):
    return torch.ones(1)
