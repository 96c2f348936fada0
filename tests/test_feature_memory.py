"""The extractor's memory: each picture once, whoever asks, whoever dies."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from full_disk import files_of_at_most
from networks import Convolutional, Logging, Shift, rows_passed
from PIL import Image
from sklearn.base import clone

from sklearn_densconf import FeatureExtractor
from sklearn_densconf.features import _array_cache, _extraction, _memory
from sklearn_densconf.features._memory import FeatureStore, open_store
from sklearn_densconf.features.inputs import _pictures
from sklearn_densconf.features.inputs._rows import Rows

PICTURES = np.random.default_rng(0).random((6, 1, 12, 12), np.float32)
X = np.random.default_rng(0).random((40, 64), np.float32)


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "memory"


def _process(code, *arguments, **settings):
    """Start a Python process that has this folder's modules."""
    paths = os.pathsep.join([str(Path(__file__).resolve().parent), *sys.path])
    env = {**os.environ, "PYTHONPATH": paths, "PYTHONHASHSEED": "11"}
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], env=env, **settings)


def test_each_row_passes_once_whatever_the_split_and_the_order(log, folder):
    extractor = FeatureExtractor(Logging(log), memory=folder, batch_size=8)
    expected = FeatureExtractor(Logging("/dev/null")).fit_transform(X)
    order = np.random.default_rng(1).permutation(40)
    for rows in (slice(0, 10), slice(5, 25), order, slice(None, None, -1), [3, 3, 3]):
        features = clone(extractor).fit(X[rows]).transform(X[rows])
        np.testing.assert_allclose(features, expected[rows], rtol=1e-5, atol=1e-6)
    assert rows_passed(log) == 40


def test_equal_rows_pass_once(log, folder):
    repeated = np.repeat(X[:5], 4, axis=0)
    features = FeatureExtractor(Logging(log), memory=folder).fit_transform(repeated)
    assert rows_passed(log) == 5
    np.testing.assert_array_equal(features, np.repeat(features[::4], 4, axis=0))


def test_a_second_process_passes_nothing(log, folder):
    code = (
        "import sys, numpy as np, torch; from networks import Logging, Shift\n"
        "from sklearn_densconf import FeatureExtractor\n"
        "X = np.random.default_rng(0).random((40, 64), np.float32)\n"
        "for preprocessing in (None, Shift(torch.tensor([0.25]))):\n"
        "    extractor = FeatureExtractor(Logging(sys.argv[1]), memory=sys.argv[2])\n"
        "    extractor.set_params(preprocessing=preprocessing).fit_transform(X)\n"
    )
    for preprocessing in (None, Shift(torch.tensor([0.25]))):
        extractor = FeatureExtractor(Logging(log), memory=folder)
        extractor.set_params(preprocessing=preprocessing).fit_transform(X)
    assert rows_passed(log) == 80
    assert _process(code, log, folder).wait() == 0
    assert rows_passed(log) == 80


def test_iter_transform_remembers_too(log, folder):
    extractor = FeatureExtractor(Logging(log), memory=folder, batch_size=16).fit(X)
    first, second = (list(extractor.iter_transform(X)) for _ in range(2))
    assert [len(batch) for batch in first] == [16, 16, 8]
    np.testing.assert_array_equal(np.concatenate(first), np.concatenate(second))
    assert rows_passed(log) == 40


def test_several_blocks_come_back_in_order(log, folder, monkeypatch):
    monkeypatch.setattr(_extraction, "BLOCK", 16)
    expected = FeatureExtractor(Logging("/dev/null")).fit_transform(X)
    extractor = FeatureExtractor(Logging(log), memory=folder, batch_size=8).fit(X[30:])
    np.testing.assert_allclose(extractor.transform(X), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.concatenate(list(extractor.iter_transform(X))), expected, 1e-5)
    assert rows_passed(log) == 40


def test_files_images_and_arrays_are_remembered_by_content(tmp_path, folder):
    log = tmp_path / "log"
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 8), np.uint8)
    paths = [tmp_path / f"{number}.png" for number in range(6)]
    for path, picture in zip(paths, pixels, strict=True):
        Image.fromarray(picture).save(path)
    extractor = FeatureExtractor(Logging(log), memory=folder).fit(paths)
    before = extractor.transform(paths)
    moved = [shutil.copy(path, tmp_path / f"copy_of_{path.name}") for path in paths]
    np.testing.assert_array_equal(extractor.transform(moved[::-1]), before[::-1])
    assert rows_passed(log) == 6
    Image.fromarray(pixels[0, ::-1]).save(paths[2])
    assert (extractor.transform(paths)[2] != before[2]).any()
    assert rows_passed(log) == 7
    for X in ([Image.fromarray(picture) for picture in pixels], pixels):
        np.testing.assert_array_equal(extractor.transform(X), extractor.transform(X))
    assert rows_passed(log) == 7 + 6 + 6


def _halved(picture):
    return torch.as_tensor(np.asarray(picture, np.float32))[None] / 2


def _thirds(picture):
    return torch.as_tensor(np.asarray(picture, np.float32))[None] / 3


OTHERS = {
    "weights": {"backbone": Convolutional(seed=1)},
    "layer": {"layer": "hidden"},
    "pooling": {"layer": "body.0", "pooling": "max"},
    "precision": {"precision": "bfloat16"},
    "no preprocessing": {"preprocessing": None},
    "preprocessing": {"preprocessing": _thirds},
}


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
def test_another_network_or_setting_does_not_find_these_features(folder, change):
    pictures = np.random.default_rng(0).integers(0, 256, (4, 12, 12), np.uint8)
    given = {"backbone": Convolutional(), "preprocessing": _halved}
    if "pooling" in change:
        given["layer"] = "body.0"
    FeatureExtractor(**given, memory=folder).fit_transform(pictures)
    changed = {**given, **change}
    features = FeatureExtractor(**changed, memory=folder).fit_transform(pictures)
    expected = FeatureExtractor(**changed).fit_transform(pictures)
    np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-6)


def test_what_does_not_change_the_features_finds_them(log, folder):
    FeatureExtractor(Logging(log), memory=folder).fit_transform(X)
    same = {"batch_size": 7, "device": "cpu", "num_workers": 1, "memory": joblib.Memory(folder)}
    FeatureExtractor(Logging(log).train(), **same).fit_transform(X)
    assert rows_passed(log) == 40


def test_a_preprocessing_without_content_is_refused(folder):
    lock = threading.Lock()
    with pytest.raises(TypeError, match=r"memory needs .* by content, but cannot pickle '_thread"):
        FeatureExtractor(
            Convolutional(), preprocessing=lambda picture: lock and picture, memory=folder
        ).fit(np.zeros((2, 1, 12, 12)))


def test_one_folder_serves_pictures_of_two_sizes(folder):
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU())
    plain = FeatureExtractor(network, pooling="flatten")
    remembering = clone(plain).set_params(memory=folder)
    for size, n_values in ((8, 72), (10, 128), (8, 72)):
        pictures = X[:30].reshape(-1)[: 5 * size**2].reshape(5, 1, size, size)
        features = remembering.fit(pictures).transform(pictures)
        assert features.shape == (5, n_values)
        np.testing.assert_allclose(features, plain.fit_transform(pictures), rtol=1e-5, atol=1e-6)


def test_memory_that_is_switched_off_keeps_nothing(log, tmp_path):
    extractor = FeatureExtractor(Logging(log), memory=joblib.Memory(None)).fit(X)
    extractor.transform(X)
    extractor.transform(X)
    assert rows_passed(log) == 81  # one in fit
    assert list(tmp_path.iterdir()) == [log]


def test_several_threads_fill_one_memory(log, folder):
    extractor = FeatureExtractor(Logging(log), memory=folder, batch_size=4).fit(X)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: extractor.transform(X), range(8)))
    expected = FeatureExtractor(Logging("/dev/null")).fit_transform(X)
    for result in results:
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


WRITER = """
import sys, time, numpy as np
from pathlib import Path
from sklearn_densconf.features._memory import FeatureStore
store, first = FeatureStore(Path(sys.argv[1])), int(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for number in range(first, first + 200):
    digest = number.to_bytes(16, "little")
    store.add([digest], np.full((1, 3000), number, np.float32), [3000])
    if number % 10 == 0:
        store.find([digest])
"""


def _check_store(folder, numbers):
    """Every kept row has the value that its digest names; of these numbers, which are there?"""
    store = FeatureStore(folder)
    places = store.find([number.to_bytes(16, "little") for number in numbers])
    there = np.flatnonzero(places >= 0)
    features = store.read(places[there])
    assert (features == np.array(numbers)[there, None]).all()
    return there


def test_two_processes_write_at_the_same_time(folder):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    writers = [_process(WRITER, folder, first, **pipes) for first in (0, 100)]  # half in common
    for writer in writers:
        writer.stdout.readline()
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    assert len(_check_store(folder, range(300))) == 300


def test_a_writer_that_is_killed_leaves_only_whole_features(folder):
    writer = _process(WRITER, folder, 0, stdin=subprocess.PIPE, text=True)
    writer.stdin.write("go\n")
    writer.stdin.flush()
    while len(list(folder.glob("*.npy"))) < 20 and writer.poll() is None:
        time.sleep(0.001)
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    kept = _check_store(folder, range(200))
    assert len(kept) >= 20
    np.testing.assert_array_equal(kept, np.arange(len(kept)))


def test_an_unfinished_file_is_not_read(folder):
    store = FeatureStore(folder)
    store.add([bytes(16)], np.ones((1, 2), np.float32), [2])
    whole = next(folder.glob("*.npy"))
    (folder / f"{whole.stem}x.123.tmp").write_bytes(whole.read_bytes()[:-3])
    assert list(FeatureStore(folder).find([bytes(16), bytes([1] * 16)])) == [0, -1]


def test_what_an_interrupted_run_has_computed_is_kept(log, folder):
    class Interrupted(torch.utils.data.Dataset):
        armed = False

        def __len__(self):
            return 40

        def __getitem__(self, index):
            if self.armed and index == 30:
                raise KeyboardInterrupt
            return torch.from_numpy(X[index])[None]

    dataset = Interrupted()
    extractor = FeatureExtractor(Logging(log), memory=folder, batch_size=8).fit(dataset)
    digests = [dataset[index] for index in range(40)]
    assert len(digests) == 40
    extractor.transform(torch.utils.data.Subset(dataset, range(20)))
    passed = rows_passed(log)
    assert passed == 20
    dataset.armed = True
    with pytest.raises(KeyboardInterrupt):
        extractor.transform(dataset)
    dataset.armed = False
    extractor.transform(dataset)
    assert rows_passed(log) == 40


def test_long_work_is_kept_bit_by_bit(log, folder, monkeypatch):
    monkeypatch.setattr(_extraction, "KEEP_EVERY", 0.0)
    FeatureExtractor(Logging(log), memory=folder, batch_size=8).fit_transform(X)
    assert len(list(folder.rglob("*.npy"))) == 1 + 5  # one in fit


def test_a_memory_that_was_deleted_is_filled_again(log, folder):
    extractor = FeatureExtractor(Logging(log), memory=folder).fit(X)
    before = extractor.transform(X)
    shutil.rmtree(folder)
    np.testing.assert_allclose(extractor.transform(X), before, rtol=1e-5, atol=1e-6)
    assert rows_passed(log) == 80
    assert len(list(folder.rglob("*.npy"))) == 1


def test_features_that_vanish_while_they_are_used_are_an_error(folder):
    store = FeatureStore(folder)
    with pytest.raises(RuntimeError, match=r"deleted from .*memory while they were used"):
        store.read(np.array([-1]))


def test_many_shards_hold_no_files_open(folder):
    store = open_store(folder, "key")
    before = len(os.listdir("/proc/self/fd"))
    for number in range(50):
        store.add([number.to_bytes(16, "little")], np.zeros((1, 2), np.float32), [2])
        assert store.find([number.to_bytes(16, "little")])[0] >= 0
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_array_changed_in_place_is_another_array(log, folder):
    pictures = np.random.default_rng(0).random((8, 64), np.float32)
    extractor = FeatureExtractor(Logging(log), memory=folder, device="cpu").fit(pictures)
    first = extractor.transform(pictures)
    pictures[3] += 1
    second = extractor.transform(pictures)
    assert rows_passed(log) == 9
    np.testing.assert_array_equal(first[np.arange(8) != 3], second[np.arange(8) != 3])
    assert (first[3] != second[3]).any()


def test_features_changed_by_the_user_are_not_remembered(log, folder):
    pictures = np.random.default_rng(0).random((8, 64), np.float32)
    network = Logging(log)
    extractor = FeatureExtractor(network, memory=folder, device="cpu").fit(pictures)
    expected = extractor.transform(pictures).copy()
    for _ in range(3):
        for batch in extractor.iter_transform(pictures):
            batch.fill(0)
    np.testing.assert_array_equal(extractor.transform(pictures), expected)


def test_equal_arrays_are_hashed_once(log, folder, monkeypatch):
    pictures = np.random.default_rng(0).random((8, 64), np.float32)
    extractor = FeatureExtractor(Logging(log), memory=folder).fit(pictures)
    expected = extractor.transform(pictures)
    monkeypatch.setattr(Rows, "digests", None)
    np.testing.assert_array_equal(extractor.transform(pictures.copy()), expected)
    with pytest.raises(TypeError, match="not callable"):
        extractor.transform(pictures + 1)


def _begin_again():
    """Forget what this process knows of memories, as in another process."""
    _memory._opened.cache_clear()
    _array_cache.CACHE._seen.clear()


def _shard(folder):
    return next(folder.rglob("*.npy"))


def _flipped(path):
    """Flip one bit of the features in a shard."""
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def _halved_file(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _halved_header(path):
    """Let numpy's parser of headers see a bracket that nobody closes: it raises a TokenError."""
    path.write_bytes(path.read_bytes().replace(b"'shape'", b"(shape"))


DAMAGE = {
    "a flipped bit": _flipped,
    "half a file": _halved_file,
    "an empty file": lambda path: path.write_bytes(b""),
    "half a header": lambda path: path.write_bytes(
        path.read_bytes().replace(b"'shape'", b"(shape")
    ),
    "another file": lambda path: path.write_text("no shard"),
    "an array of another kind": lambda path: np.save(path, np.zeros(3)),
    "features of another width": lambda path: np.save(
        path, np.zeros(1, [("digest", "V16"), ("features", "<f4", (3,))])
    ),
    "a folder in its place": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_shard_is_named_set_aside_and_computed_again(log, folder, damage):
    extractor = FeatureExtractor(Logging(log), memory=folder, device="cpu").fit(X[:1])
    expected = extractor.transform(X[1:])
    shard = max(folder.rglob("*.npy"), key=lambda path: path.stat().st_size)
    damage(shard)
    _begin_again()
    with pytest.warns(
        UserWarning, match=rf"{shard.name} cannot be read .* set aside as {shard.name}"
    ):
        again_from = clone(extractor).fit(X[:1])
    again = again_from.transform(X[1:])
    np.testing.assert_allclose(again, expected, rtol=1e-5, atol=1e-6)
    assert not shard.exists()
    assert shard.with_name(f"{shard.name}.damaged").exists()
    assert rows_passed(log) == 40 + 39
    np.testing.assert_array_equal(again_from.transform(X[1:]), again)
    assert rows_passed(log) == 40 + 39


@pytest.mark.parametrize("content", ["", "[10", "{}", "[]", "[10.5]", '["a"]', "[-1]"])
def test_damaged_widths_are_named_set_aside_and_learned_again(log, folder, content):
    extractor = FeatureExtractor(Logging(log), memory=folder, device="cpu")
    expected = extractor.fit_transform(X)
    widths = next(folder.rglob("widths.json"))
    widths.write_text(content)
    _begin_again()
    with pytest.warns(UserWarning, match="widths.json cannot be read .* what it held is computed"):
        again = clone(extractor).fit(X).transform(X)
    np.testing.assert_allclose(again, expected, rtol=1e-5, atol=1e-6)
    assert widths.read_text() == "[10]"


def test_a_shard_without_a_checksum_is_read(folder):
    store = FeatureStore(folder)
    store.add([bytes(16)], np.ones((1, 2), np.float32), [2])
    shard = _shard(folder)
    shard.rename(shard.with_name(f"{shard.stem.partition('-')[0]}.npy"))
    assert FeatureStore(folder).find([bytes(16)]) == [0]


def test_a_full_disk_costs_the_memory_and_not_the_features(folder, tmp_path):
    expected = FeatureExtractor(Logging("/dev/null")).fit_transform(X)
    extractor = FeatureExtractor(Logging("/dev/null"), memory=folder).fit(X)
    told = pytest.warns(UserWarning, match=r"cannot be used as memory \(.*too large")
    with files_of_at_most(1000), told as warned:
        features = [extractor.transform(X), extractor.transform(X[::-1])[::-1]]
    for found in features:
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert len(warned) == 1
    assert not list(folder.rglob("unfinished-*"))


def test_a_disk_that_fills_up_keeps_what_was_kept(folder, monkeypatch):
    few = FeatureExtractor(Convolutional(), memory=folder).fit(PICTURES[:3])
    kept = few.transform(PICTURES[:3])
    expected = FeatureExtractor(Convolutional()).fit_transform(PICTURES)

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_memory, "write_content", full)
    with pytest.warns(UserWarning, match="No space left on device"):
        features = clone(few).fit(PICTURES).transform(PICTURES)
    np.testing.assert_array_equal(features[:3], kept)
    np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-6)


def test_a_file_in_the_place_of_the_folder_costs_the_memory_and_not_the_features(tmp_path):
    (tmp_path / "file").write_text("mine")
    extractor = FeatureExtractor(Convolutional(), memory=tmp_path / "file")
    with pytest.warns(UserWarning, match="cannot be used as memory"):
        features = extractor.fit_transform(PICTURES)
    expected = FeatureExtractor(Convolutional()).fit_transform(PICTURES)
    np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-6)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_memory_of_a_newer_version_is_left_alone(folder):
    extractor = FeatureExtractor(Convolutional(), memory=folder)
    expected = extractor.fit_transform(PICTURES)
    widths = next(folder.rglob("widths.json"))
    widths.write_text('{"version": 2, "widths": [3]}')
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.*")}
    _begin_again()
    with pytest.warns(UserWarning, match="a newer version wrote it, 2: update sklearn_densconf"):
        features = clone(extractor).fit_transform(PICTURES)
    np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-6)
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*.*")}


def test_what_a_killed_writer_left_is_swept_by_the_next(folder):
    writer = _process(
        "import os, sys; from pathlib import Path\n"
        "from sklearn_densconf._files import whole_file\n"
        "folder = Path(sys.argv[1]); folder.mkdir()\n"
        "with whole_file(folder / 'shard.npy') as unfinished:\n"
        "    unfinished.touch(); os._exit(0)\n",
        folder,
    )
    writer.wait()
    assert len(list(folder.iterdir())) == 1
    store = FeatureStore(folder)
    store.add([bytes(16)], np.ones((1, 2), np.float32), [2])
    store.find([bytes(16)])
    assert len(list(folder.iterdir())) == 2
    assert not list(folder.glob("unfinished-*"))


def _save(path, seed):
    """Write a picture in place, and give it the time that it had."""
    before = path.stat() if path.exists() else None
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8), np.uint8)
    Image.fromarray(pixels).save(path, format="BMP")
    if before is not None:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_picture_of_equal_size_and_time_is_another_picture(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(_pictures, "_JUST_NOW", 0)
    path = tmp_path / "picture.bmp"
    _save(path, 0)
    extractor = FeatureExtractor(torch.nn.Flatten(), memory=folder).fit([path])
    first = extractor.transform([path])
    time.sleep(0.02)  # kernels count the time in steps
    _save(path, 1)
    assert (extractor.transform([path]) != first).any()


def test_a_picture_that_was_just_written_is_read_again(tmp_path, folder):
    path = tmp_path / "picture.bmp"
    for seed in range(20):  # often within one step of the clock
        _save(path, seed)
        fresh = FeatureExtractor(torch.nn.Flatten()).fit_transform([path])
        kept = FeatureExtractor(torch.nn.Flatten(), memory=folder).fit_transform([path])
        np.testing.assert_array_equal(kept, fresh)


def test_a_relative_path_is_another_picture_in_another_folder(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(_pictures, "_JUST_NOW", 0)
    extractor = FeatureExtractor(torch.nn.Flatten(), memory=folder)
    found = []
    for seed, name in enumerate("ab"):
        (tmp_path / name).mkdir()
        _save(tmp_path / name / "picture.bmp", seed)
        os.utime(tmp_path / name / "picture.bmp", (0, 0))
        monkeypatch.chdir(tmp_path / name)
        found.append(extractor.fit_transform(["picture.bmp"]))
    assert (found[0] != found[1]).any()


def test_a_picture_that_did_not_change_is_hashed_once(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(_pictures, "_JUST_NOW", 0)
    path = tmp_path / "picture.bmp"
    _save(path, 0)
    extractor = FeatureExtractor(torch.nn.Flatten(), memory=folder)
    expected = extractor.fit_transform([path])
    monkeypatch.setattr(_pictures, "digest", None)
    np.testing.assert_array_equal(extractor.transform([path]), expected)


@pytest.mark.parametrize("content", ["[12]", "[4, 6]", "[3, 7]"])
def test_widths_of_other_layers_are_found_out(log, folder, content):
    extractor = FeatureExtractor(Logging(log), memory=folder, device="cpu")
    expected = extractor.fit_transform(X)
    widths = next(folder.rglob("widths.json"))
    widths.write_text(content)
    _begin_again()
    with pytest.warns(UserWarning, match="cannot be read"):
        again = clone(extractor).fit(X)
    np.testing.assert_allclose(again.transform(X), expected, rtol=1e-5, atol=1e-6)
    assert again.feature_groups_ == extractor.feature_groups_
    assert widths.read_text() == "[10]"
