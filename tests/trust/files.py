"""Damaged files of every kind that the package reads: right, refused by name, or computed again.

Formats with a checksum must never give another result. Those without one (IDX files that are not
packed, pictures) hold whatever their bytes say: there an independent reader says what is right.
"""

import gzip
import json
import math
import os
import shutil
import struct
import tempfile
import warnings
import weakref
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image
from torch import nn

from sklearn_densconf import FeatureExtractor, GaussianDensityClassifier, distributed, io
from sklearn_densconf.datasets import read_idx
from sklearn_densconf.features._memory import FeatureStore
from sklearn_densconf.io import _container
from tests.trust._damage import mutated, mutated_gzip, mutated_png
from tests.trust._supervised import supervise

ROOM = 3 * 2**30  # bytes of address space: a picture of the most pixels needs half of it
IN_MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None  # disks take longer than readers
GOOD = {"right", "refused", "missed"}


class _Trial:
    """Files of one kind in a folder of their own."""

    damage = staticmethod(mutated)

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(dir=IN_MEMORY))
        self.close = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        self.files = self.prepare()
        self.contents = [path.read_bytes() for path in self.files]

    def attempt(self, number):
        """Damage one file, read it, and say what came of it."""
        rng = np.random.default_rng(number)
        chosen = number % len(self.files)
        path = self.files[chosen]
        path.write_bytes(self.damage(self.contents[chosen], rng))
        try:
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                outcome = self.read(path, told)
        except (ValueError, FileNotFoundError) as error:
            named = path.name in str(error) or str(path.parent) in str(error)
            return ("refused" if named else "unnamed"), error
        except MemoryError as error:
            return "memory", error
        except Exception as error:
            return "undocumented", repr(error)
        finally:
            path.write_bytes(self.contents[chosen])
        return outcome, [str(each.message) for each in told]


class _Idx(_Trial):
    def prepare(self):
        rng = np.random.default_rng(0)
        pictures = struct.pack(">4B3I", 0, 0, 8, 3, 20, 5, 5) + rng.bytes(500)
        labels = struct.pack(">4BI", 0, 0, 8, 1, 40) + rng.bytes(40)
        floats = struct.pack(">4B2I", 0, 0, 0x0D, 2, 6, 4) + rng.random(24).astype(">f4").tobytes()
        paths = []
        for name, content in (("pictures", pictures), ("labels", labels), ("floats", floats)):
            for suffix, packed in (("idx", content), ("gz", gzip.compress(content, mtime=0))):
                paths.append(self.folder / f"{name}.{suffix}")
                paths[-1].write_bytes(packed)
        return paths

    @staticmethod
    def damage(content, rng):
        return (mutated_gzip if content[:2] == b"\x1f\x8b" else mutated)(content, rng)

    def read(self, path, told):
        values = read_idx(path)
        expected = _parsed(path.read_bytes())
        same = expected is not None and values.tobytes() == expected.tobytes()
        return "right" if same and values.shape == expected.shape else "wrong"


def _parsed(content):
    """Read IDX by the letter of its format; None where a file is not in it."""
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    kinds = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
    dtype, n_axes = np.dtype(kinds[content[2]]), content[3]
    shape = struct.unpack_from(f">{n_axes}I", content, 4)
    if len(content) != 4 + 4 * n_axes + math.prod(shape) * dtype.itemsize:
        return None
    native = dtype.newbyteorder("=")
    return np.frombuffer(content, dtype, offset=4 + 4 * n_axes).reshape(shape).astype(native)


class _Pictures(_Trial):
    SIZE = 12

    def prepare(self):
        pixels = np.random.default_rng(0).integers(0, 256, (self.SIZE, self.SIZE, 3), np.uint8)
        picture, paths = Image.fromarray(pixels), []
        for suffix in ("png", "jpg", "gif", "bmp", "ppm", "tif", "webp"):
            paths.append(self.folder / f"picture.{suffix}")
            picture.save(paths[-1])
        shape = (3, self.SIZE, self.SIZE)
        self.extractor = FeatureExtractor(nn.Flatten(), input_shape=shape, device="cpu").fit(paths)
        return paths

    @staticmethod
    def damage(content, rng):
        return (mutated_png if content[:4] == b"\x89PNG" else mutated)(content, rng)

    def read(self, path, told):
        features = self.extractor.transform([path])
        with Image.open(path) as picture:
            if picture.mode not in ("L", "RGB"):
                return "right" if features.shape == (1, 3 * self.SIZE**2) else "wrong"
            expected = np.moveaxis(np.asarray(picture.convert("RGB")), -1, 0) / np.float32(255)
        return "right" if np.array_equal(features[0], expected.ravel()) else "wrong"


class _Cache(_Trial):
    N = 30

    def prepare(self):
        digests = np.random.default_rng(0).bytes(16 * self.N)
        self.digests = [digests[start : start + 16] for start in range(0, 16 * self.N, 16)]
        self.values = np.random.default_rng(1).random((self.N, 7), np.float32)
        self.kept = self.folder / "kept"
        store = FeatureStore(self.kept)
        for rows in (slice(0, 10), slice(10, self.N)):
            store.add(self.digests[rows], self.values[rows], [3, 4])
        return sorted(self.kept.iterdir())

    def read(self, path, told):
        try:
            store = FeatureStore(self.kept)
            numbers = store.find(self.digests)
            found = np.flatnonzero(numbers >= 0)
            if len(found):
                right = np.array_equal(store.read(numbers[found]), self.values[found])
                if not right or store.widths != [3, 4]:
                    return "wrong"
            named = any(self.kept.name in str(each.message) for each in told)
            return "right" if len(found) == self.N else "missed" if named else "unnamed"
        finally:
            for left in self.kept.glob("*.damaged"):
                left.unlink()
            for other, content in zip(self.files, self.contents, strict=True):
                if not other.exists():
                    other.write_bytes(content)


class _Results(_Trial):
    """Folders of `distributed.predict`, of a run that is over and of one that was cut off."""

    def prepare(self):
        rng = np.random.default_rng(0)
        self.X = rng.normal(size=(40, 3))
        self.model = GaussianDensityClassifier().fit(self.X, np.arange(40) % 3)
        self.expected = self.model.predict_proba(self.X)
        self.whole, self.parts = self.folder / "whole", self.folder / "parts"
        self._predict(self.whole)
        self.parts.mkdir()
        self._cut_off()
        self.all = {p: p.read_bytes() for p in self.folder.rglob("*") if p.is_file()}
        return sorted(self.all)

    def _cut_off(self):
        self.broken = _Failing().fit(self.X, np.arange(40) % 3)
        os.environ["TRUST_FAILS_AT"] = repr(float(self.X[30, 0]))
        with suppress(OSError):
            self._predict(self.parts, self.broken)
        del os.environ["TRUST_FAILS_AT"]
        assert len(list(self.parts.glob("from-*.npy"))) == 3

    def _predict(self, folder, model=None):
        return distributed.predict(model or self.model, self.X, folder, shard_size=10)

    def read(self, path, told):
        try:
            is_whole = path.parent == self.whole
            found = self._predict(path.parent, None if is_whole else self.broken)
            if not np.array_equal(found, self.expected):
                return "wrong"
            return "missed" if told else "right"
        finally:
            for other in path.parent.iterdir():
                if other not in self.all:
                    other.unlink()
            for other, content in self.all.items():
                if other.parent == path.parent:
                    other.write_bytes(content)


class _Failing(GaussianDensityClassifier):
    """Fails where the environment says so: anything else would be state of another model."""

    def predict_proba(self, X):
        if repr(float(X[0, 0])) == os.environ.get("TRUST_FAILS_AT"):
            raise OSError("no more")
        return super().predict_proba(X)


class _Saved(_Trial):
    def prepare(self):
        rng = np.random.default_rng(0)
        self.X = rng.normal(size=(40, 3)).astype(np.float32)
        density = GaussianDensityClassifier("tied", blocks=[1, 2]).fit(self.X, np.arange(40) % 3)
        self.expected = density.predict_proba(self.X)
        self.network = nn.Linear(3, 2)
        extractor = FeatureExtractor(nn.Linear(3, 2), device="cpu").fit(self.X)
        self.features = extractor.transform(self.X)
        io.save(density, self.folder / "density.densconf")
        io.save(extractor, self.folder / "extractor.densconf")
        return sorted(self.folder.iterdir())

    def load(self, path):
        return io.load(path, network=self.network if path.name.startswith("extractor") else None)

    def read(self, path, told):
        loaded = self.load(path)
        if path.name.startswith("density"):
            same = np.array_equal(loaded.predict_proba(self.X), self.expected)
        else:
            same = np.array_equal(loaded.transform(self.X), self.features)
        return "right" if same else "wrong"


class _Crafted(_Saved):
    """Files whose checksum is right: anyone can make such. Nothing is promised of their numbers."""

    @staticmethod
    def damage(content, rng):
        start = _container._START
        size = start.unpack_from(content)[2]
        header = bytearray(content[start.size : start.size + size])
        for _ in range(rng.integers(1, 4)):
            header[rng.integers(len(header))] = rng.choice(list(b'0123456789"{}[],:-eEnulaZ'))
        arrays = content[start.size + size : -32]
        if rng.random() < 0.3:
            arrays = mutated(arrays, rng)
        whole = content[: start.size] + bytes(header) + arrays
        return whole + _container.hashlib.sha256(whole).digest()

    def read(self, path, told):
        loaded = self.load(path)
        predict = "predict_proba" if path.name.startswith("density") else "transform"
        try:
            getattr(loaded, predict)(self.X)
        except Exception:  # of what is in it, as of any wrong array
            return "refused"
        return "right"


TRIALS = {
    "IDX files": _Idx,
    "pictures of 7 formats": _Pictures,
    "shards of the memory": _Cache,
    "results of distributed.predict": _Results,
    "files of io.save": _Saved,
    "files of io.save with a right checksum": _Crafted,
}


def run(n=20_000, seed=0, kinds=TRIALS):
    """Damage files of each kind n times.

    Returns
    -------
    list of dict
        One row a kind: ``what``, ``tried``, ``failed`` (silently wrong, crashed, hung, beyond the
        memory, an exception that is not documented, or one that does not name the file), and
        ``note``, all outcomes by number.
    """
    rows = []
    for kind in kinds:
        outcomes, grown = supervise("tests.trust.files", kind, n, room=ROOM, seed=seed)
        counted = ", ".join(f"{name} {outcomes[name]:,}" for name in sorted(outcomes))
        rows.append(
            {
                "what": f"damaged {kind}",
                "tried": sum(outcomes.values()),
                "failed": sum(outcomes.values()) - sum(outcomes[name] for name in GOOD),
                "note": f"{counted}; at most {grown / 2**20:.0f} MB more memory",
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    return rows
