"""Containers of other libraries, and samples of several lengths."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from PIL import Image
from skorch import NeuralNetClassifier
from torch import nn
from torch.utils.data import DataLoader, Dataset

from sklearn_densconf import FeatureExtractor

datasets = pytest.importorskip("datasets")
pa = pytest.importorskip("pyarrow")

X = np.random.default_rng(0).random((20, 4)).astype(np.float32)
Y = np.arange(20) % 2


class ByName(nn.Module):
    """A network whose input is called ``x``."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.linear = nn.Linear(4, 3)

    def forward(self, x):
        return self.linear(x.flatten(1))


def lengths(texts):
    """Return for each text its length, four times over: a tokenizer of one token."""
    return {"x": torch.tensor([[float(len(text))] * 4 for text in texts])}


def grey(picture):
    """Return a picture in [0, 1]."""
    return torch.from_numpy(np.array(picture, np.float32) / 255)[None]


def _features(container, network=None, **parameters):
    extractor = FeatureExtractor(network or ByName(), device="cpu", **parameters)
    features = extractor.fit_transform(container)
    np.testing.assert_array_equal(extractor.transform(container), features)
    return features


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    pixels = np.random.default_rng(1).integers(0, 256, (20, 2, 2), dtype=np.uint8)
    for number, each in enumerate(pixels):
        Image.fromarray(each).save(folder / f"{number:02}.png")
    return sorted(map(str, folder.iterdir()))


def _dataset():
    return datasets.Dataset.from_dict({"x": X.tolist(), "label": Y.tolist()})


@pytest.mark.parametrize(
    "container",
    [
        _dataset,
        lambda: _dataset().with_format("torch"),
        lambda: _dataset().with_format("numpy"),
        lambda: _dataset()[:],
        lambda: _dataset().to_iterable_dataset(),
        lambda: _dataset()["x"],
        lambda: _dataset().with_format("torch")["x"],
        lambda: DataLoader(_dataset().with_format("torch"), batch_size=3),
        lambda: datasets.concatenate_datasets([_dataset().select([0, 1]), _dataset().skip(2)]),
    ],
    ids=["rows", "torch", "numpy", "dict", "iterable", "column", "of torch", "loader", "joined"],
)
def test_a_dataset_of_the_library_datasets(container):
    np.testing.assert_allclose(_features(container()), _features(X), atol=1e-6)


@pytest.mark.parametrize(
    "container",
    [
        lambda paths: datasets.Dataset.from_dict({"path": paths})["path"],
        lambda paths: datasets.Dataset.from_dict({"path": paths, "label": Y.tolist()}),
        lambda paths: _pictures(paths).select(range(20)),
        lambda paths: _pictures(paths)["image"],
        lambda paths: _pictures(paths).add_column("from", ["here"] * 20),
        lambda paths: [{"image": Image.open(path), "label": 0} for path in paths],
        pa.array,
        lambda paths: pa.chunked_array([paths[:3], paths[3:]]),
        lambda paths: pa.array(paths, pa.large_string()),
        lambda paths: pa.array(paths).dictionary_encode(),
        lambda paths: pa.table({"path": paths}),
        lambda paths: pd.Series(paths, dtype="string[pyarrow]"),
        lambda paths: pd.DataFrame({"path": paths}),
    ],
)
def test_pictures_in_columns_and_rows(paths, container):
    expected = _features(paths)
    np.testing.assert_array_equal(_features(container(paths)), expected)
    np.testing.assert_array_equal(_features(container(paths), preprocessing=grey), expected)


def _pictures(paths):
    images = datasets.Dataset.from_dict({"image": paths, "label": Y.tolist()})
    return images.cast_column("image", datasets.Image())


@pytest.mark.parametrize(
    "container",
    [
        lambda: pa.array(X.tolist()),
        lambda: pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), 4),
        lambda: pa.table({f"c{i}": X[:, i] for i in range(4)}),
        lambda: pa.record_batch({f"c{i}": X[:, i] for i in range(4)}),
        lambda: pa.table({"x": X.tolist()}),
        lambda: pl.Series(X.tolist()),
        lambda: pl.Series(X.tolist(), dtype=pl.Array(pl.Float32, 4)),
        lambda: pl.DataFrame({"x": X.tolist()}),
        lambda: pd.Series(X.tolist()),
        lambda: pd.Series(list(X)),
        lambda: pd.DataFrame(X, columns=list("abcd")).astype("float[pyarrow]"),
    ],
)
def test_numbers_in_columns(container):
    np.testing.assert_allclose(_features(container()), _features(X), atol=1e-6)


def test_texts_of_a_dataset_and_of_pairs():
    texts = ["one", "three", "fifteen", "two"] * 5
    expected = _features(texts, preprocessing=lengths)
    rows = datasets.Dataset.from_dict({"text": texts, "label": Y.tolist()})
    assert rows[0] == {"text": "one", "label": 0}
    for container in (rows, rows["text"], pa.array(texts), list(zip(texts, Y, strict=True))):
        np.testing.assert_array_equal(_features(container, preprocessing=lengths), expected)
    mapped = rows.map(lambda row: {"x": lengths([row["text"]])["x"][0]})
    np.testing.assert_array_equal(_features(mapped), expected)


def test_the_labels_of_a_dataset_train_a_network(paths):
    seen = []

    class Noting(NeuralNetClassifier):
        def partial_fit(self, X, y, **options):
            seen.append(y)
            return super().partial_fit(X, y, **options)

    how = {"max_epochs": 1, "verbose": 0, "train_split": None, "criterion": nn.CrossEntropyLoss}
    for container in (_dataset(), _pictures(paths)):
        FeatureExtractor(Noting(ByName, **how), device="cpu").fit(container)
        np.testing.assert_array_equal(seen.pop(), Y)


@pytest.mark.parametrize(
    ("container", "message"),
    [
        (
            lambda: datasets.DatasetDict(train=_dataset()),
            r"DatasetDict of \['train'\]: choose one, s",
        ),
        (lambda: _dataset().select([]), "X is a Dataset without samples: give at least 1"),
        (
            lambda: datasets.Dataset.from_dict({"a": [1.0], "b": [2.0]}),
            r"refuses inputs called \['a', 'b'\].*Name the arrays as the parameters of its forward",
        ),
        (
            lambda: pa.array([[1.0, 2.0], [3.0]]),
            r"one length, got \(2,\) for sample 0 and \(1,\) for",
        ),
        (
            lambda: [{"x": Image.new("L", (2, 2)), "age": 3}],
            "a picture beside other inputs: give a",
        ),
    ],
)
def test_what_cannot_be_taken_is_told(container, message):
    with pytest.raises((ValueError, TypeError), match=message):
        FeatureExtractor(ByName(), device="cpu").fit(container())


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_a_missing_path_is_told(paths, missing):
    extractor = FeatureExtractor(ByName(), device="cpu").fit(paths)
    with pytest.raises(
        ValueError, match=r"sample 1 is .*, and not the path of a picture: drop mis"
    ):
        extractor.transform(pd.Series([paths[0], missing], dtype=object))
    with pytest.raises(ValueError, match=r"sample 1 is None, and not the path"):
        extractor.transform(pa.array([paths[0], None]))


# Samples of several lengths


class Sum(nn.Module):
    """A network that counts padding as well: it knows no mask."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.words = nn.Embedding(10, 3)
            self.head = nn.Linear(3, 2)

    def forward(self, tokens, lengths=None):
        return self.head(self.words(tokens).sum(1))


class Sentences(Dataset):
    """Tokens of several lengths, with labels or without."""

    def __init__(self, labelled=False):
        random = np.random.default_rng(0)
        self.tokens = [torch.tensor(random.integers(1, 10, n)) for n in (3, 5, 2, 5, 3, 7, 1, 2)]
        self.labelled = labelled

    def __len__(self):
        return len(self.tokens)

    def __getitem__(self, index):
        return (self.tokens[index], index % 2) if self.labelled else self.tokens[index]


def padded(samples):
    """Pad tokens to the longest of the batch."""
    return nn.utils.rnn.pad_sequence(samples, batch_first=True)


def padded_pairs(samples):
    """Pad tokens, and put labels beside them."""
    return padded([tokens for tokens, _ in samples]), torch.tensor([y for _, y in samples])


def padded_by_name(samples):
    """Pad tokens, and give their lengths, too."""
    return {"tokens": padded(samples), "lengths": torch.tensor([len(each) for each in samples])}


def longest_first(samples):
    """Pad tokens, and sort them as packed sequences want them."""
    return padded(sorted(samples, key=len, reverse=True))


@pytest.mark.parametrize(
    ("samples", "collate"),
    [
        (Sentences(), padded),
        (Sentences(labelled=True), padded_pairs),
        (Sentences(), padded_by_name),
        (Sentences(), longest_first),
    ],
    ids=["tokens", "with labels", "by name", "sorted"],
)
@pytest.mark.parametrize("batch_size", [1, 3, 256])
def test_features_do_not_depend_on_how_batches_are_padded(samples, collate, batch_size, tmp_path):
    network = Sum().eval()
    with torch.no_grad():
        alone = [network(tokens[None])[0].numpy() for tokens in Sentences()]
    loader = DataLoader(samples, batch_size=4, collate_fn=collate)
    parameters = {"batch_size": batch_size, "device": "cpu"}
    features = FeatureExtractor(network, **parameters).fit_transform(loader)
    np.testing.assert_allclose(features, alone, atol=1e-6)
    kept = FeatureExtractor(network, memory=tmp_path, **parameters).fit(loader)
    first = DataLoader(torch.utils.data.Subset(samples, [5, 6]), 2, collate_fn=collate)
    kept.transform(first)
    np.testing.assert_allclose(kept.transform(loader), alone, atol=1e-6)
    np.testing.assert_array_equal(np.vstack([*kept.iter_transform(loader)]), kept.transform(loader))


def test_dicts_of_several_lengths_need_no_padding():
    samples = [{"tokens": tokens.tolist()} for tokens in Sentences()]
    loader = DataLoader(Sentences(), batch_size=4, collate_fn=padded)
    expected = FeatureExtractor(Sum(), device="cpu").fit_transform(loader)
    np.testing.assert_allclose(_features(samples, Sum()), expected, atol=1e-6)
    extractor = FeatureExtractor(Sum(), layer="words", pooling="flatten", device="cpu")
    with pytest.raises(ValueError, match="with pooling='flatten' samples must have one length"):
        extractor.fit_transform(samples)


def test_tokens_that_a_tokenizer_pads_without_a_mask():
    def tokenizer(texts):
        return {"tokens": padded([torch.tensor([*map(int, text)]) for text in texts])}

    texts = ["".join(map(str, tokens.tolist())) for tokens in Sentences()]
    expected = _features([{"tokens": tokens} for tokens in Sentences()], Sum())
    np.testing.assert_allclose(
        _features(texts, Sum(), preprocessing=tokenizer), expected, atol=1e-6
    )


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_integers_of_several_lengths_are_told_how_to_be_given(kind):
    samples = [kind([1, 2, 3]), kind([4, 5])]
    message = (
        r"one length, got \(3,\) for sample 0 and \(2,\) for sample 1: pad them.*DataLoader whose"
    )
    with pytest.raises(ValueError, match=message):
        FeatureExtractor(Sum(), device="cpu").fit(samples)
    with pytest.raises(ValueError, match="pad the samples, or give a DataLoader whose collate_fn"):
        FeatureExtractor(Sum(), device="cpu").fit_transform(Sentences())
    batches = iter([np.ones((2, 3), int), np.ones((2, 4), int)])
    with pytest.raises(ValueError, match=r"shapes \[\(3,\), \(4,\)\]: pad all to one length"):
        FeatureExtractor(Sum(), device="cpu").fit(batches)


def test_a_preprocessing_may_make_tokens_of_tokens():
    samples = [np.array([1, 2]), np.array([3, 4])]

    class Tokens(Dataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return samples[index]

    features = _features(Tokens(), Sum(), preprocessing=lambda tokens: tokens + 1)
    np.testing.assert_allclose(features, _features(np.array(samples) + 1, Sum()), atol=1e-6)
