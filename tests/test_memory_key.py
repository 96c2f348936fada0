"""How a picture on disk is known again, also where it is replaced unseen or while it is read."""

import mmap
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import Logging, rows_passed
from PIL import Image

from sklearn_densconf import FeatureExtractor
from sklearn_densconf.features.inputs import _pictures

MAPPED = Path("/dev/shm")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "memory"


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def timeless():
    if not MAPPED.is_dir():
        pytest.skip("needs a file system whose times tell nothing: /dev/shm")
    with tempfile.TemporaryDirectory(dir=MAPPED) as name:
        yield Path(name) / "picture.bmp"


def _save(path, seed):
    """Write a picture whose size tells nothing."""
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8), np.uint8)
    Image.fromarray(pixels).save(path, format="BMP")


@pytest.mark.parametrize(("key", "sees"), [("file", False), ("content", True)])
def test_a_picture_replaced_without_a_trace_is_seen_by_its_bytes(
    timeless, folder, key, sees, monkeypatch
):
    monkeypatch.setattr(_pictures, "_JUST_NOW", 0)
    _save(timeless, 1)
    other = timeless.read_bytes()
    _save(timeless, 0)
    extractor = FeatureExtractor(torch.nn.Flatten(), memory=folder, memory_key=key)
    with timeless.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[:] = mapped[:]  # the first write through a map may change the times
        first = extractor.fit_transform([timeless])
        before = timeless.stat()
        mapped[:] = other
    after = timeless.stat()
    assert (before.st_mtime_ns, before.st_ctime_ns) == (after.st_mtime_ns, after.st_ctime_ns)
    fresh = FeatureExtractor(torch.nn.Flatten()).fit_transform([timeless])
    assert (first != fresh).any()
    np.testing.assert_array_equal(extractor.transform([timeless]), fresh if sees else first)


@pytest.mark.parametrize("key", ["file", "content"])
@pytest.mark.parametrize(
    "move", [lambda old, new: old.rename(new), shutil.copy, shutil.copy2, os.link]
)
def test_a_picture_of_the_same_bytes_is_known_wherever_it_lies(tmp_path, log, folder, move, key):
    path, other = tmp_path / "a.bmp", tmp_path / "b.bmp"
    _save(path, 0)
    extractor = FeatureExtractor(Logging(log), memory=folder, memory_key=key, input_shape=(1, 8, 8))
    expected = extractor.fit_transform([path])
    passed = rows_passed(log)
    move(path, other)
    os.utime(other, (1, 1))
    np.testing.assert_array_equal(extractor.transform([other]), expected)
    assert rows_passed(log) == passed


def test_either_memory_key_finds_the_features_of_the_other(tmp_path, log, folder):
    path = tmp_path / "a.bmp"
    _save(path, 0)
    for key in ("file", "content", "file"):
        extractor = FeatureExtractor(Logging(log), memory=folder, memory_key=key)
        extractor.set_params(input_shape=(1, 8, 8)).fit_transform([path])
    assert rows_passed(log) == 1


def test_an_unknown_memory_key_is_refused():
    extractor = FeatureExtractor(torch.nn.Flatten(), memory_key="inode")
    with pytest.raises(ValueError, match=r"memory_key must be one of \['file', 'content'\], got"):
        extractor.fit(np.ones((2, 3)))


class Replacing:
    """A preprocessing during which files change: that of each picture after it was decoded."""

    def __init__(self, change):
        self.change = change

    def __call__(self, picture):
        tensor = torch.from_numpy(np.asarray(picture, np.float32))[None]
        self.change()
        return tensor

    def __getstate__(self):
        return {}


@pytest.mark.parametrize("key", ["file", "content"])
def test_a_picture_that_changes_while_it_is_read_is_known_by_what_it_becomes(tmp_path, folder, key):
    paths = [tmp_path / f"{number}.bmp" for number in range(3)]
    for seed, path in enumerate(paths):
        _save(path, seed)
    changing = Replacing(lambda: None)
    extractor = FeatureExtractor(
        torch.nn.Flatten(), memory=folder, memory_key=key, preprocessing=changing
    ).fit([paths[0]])
    changes = iter([7])
    changing.change = lambda: [_save(paths[1], seed) for seed in changes]
    found = extractor.transform(paths)
    fresh = FeatureExtractor(torch.nn.Flatten(), preprocessing=Replacing(lambda: None))
    np.testing.assert_array_equal(found, fresh.fit_transform(paths))
    _save(paths[1], 1)  # what it was at first, whose features nobody has seen
    np.testing.assert_array_equal(extractor.transform(paths), fresh.transform(paths))


def test_a_picture_that_never_stays_the_same_is_named(tmp_path, folder):
    path = tmp_path / "busy.bmp"
    _save(path, 0)
    seeds = iter(range(1, 99))
    changing = Replacing(lambda: _save(path, next(seeds)))
    extractor = FeatureExtractor(torch.nn.Flatten(), memory=folder, preprocessing=changing)
    with pytest.raises(RuntimeError, match=r"busy\.bmp\) changed each of 3 times while it was"):
        extractor.fit([path])
