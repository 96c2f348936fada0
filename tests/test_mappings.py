"""Inputs by name, texts, and containers of other libraries."""

import io
from collections import UserDict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from networks import Convolutional
from PIL import Image
from sklearn.pipeline import make_pipeline
from torch import nn
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from sklearn_densconf import FeatureExtractor, GaussianDensityClassifier

pytestmark = pytest.mark.usefixtures("frozen_unchanged")
RNG = np.random.default_rng(0)
IDS = RNG.integers(1, 20, (6, 7))
MASK = (np.arange(7) < np.array([7, 3, 5, 1, 6, 2])[:, None]).astype(np.int64)
TOKENS = {"input_ids": IDS * MASK, "attention_mask": MASK}


class Words(nn.Module):
    """Embedded words, mixed along the tokens that are no padding, as a text network mixes them."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.words = nn.Embedding(20, 4)
            self.hidden = nn.Linear(4, 5)
            self.head = nn.Linear(5, 2)

    def forward(self, input_ids, attention_mask=None):
        hidden = self.hidden(self.words(input_ids)).tanh()
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        return {"logits": self.head((hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))}


@pytest.fixture(scope="module")
def expected():
    """Masked means of the embedded words, and logits."""
    network, ids, mask = Words().eval(), torch.tensor(TOKENS["input_ids"]), torch.tensor(MASK)
    with torch.inference_mode():
        embedded = network.words(ids) * mask[..., None]
        means = embedded.sum(1) / mask.sum(1, keepdim=True)
        return np.hstack([means, network(ids, mask)["logits"]])


class _Items(Dataset):
    """Samples as dicts, with labels."""

    def __init__(self, **settings):
        self.settings = settings

    def __len__(self):
        return 6

    def __getitem__(self, index):
        item = {name: values[index] for name, values in TOKENS.items()}
        return {**item, "label": index % 2, **self.settings}


MAPPINGS = {
    "dict of arrays": lambda: TOKENS,
    "dict of tensors": lambda: {name: torch.tensor(values) for name, values in TOKENS.items()},
    "dict of lists": lambda: {name: values.tolist() for name, values in TOKENS.items()},
    "another mapping": lambda: UserDict(TOKENS),
    "with labels": lambda: {**TOKENS, "labels": np.zeros(6, int)},
    "narrow integers": lambda: {name: values.astype(np.int16) for name, values in TOKENS.items()},
    "list of dicts": lambda: [_Items()[index] for index in range(6)],
    "list of dicts of lists": lambda: [
        {name: values[index].tolist() for name, values in TOKENS.items()} for index in range(6)
    ],
    "Dataset of dicts": _Items,
    "Dataset with names": lambda: _Items(name="a text"),
    "DataLoader": lambda: DataLoader(_Items(), batch_size=4),
    "DataLoader that shuffles": lambda: DataLoader(_Items(), batch_size=4, shuffle=True),
    "generator of batches": lambda: (
        {name: values[start : start + 4] for name, values in TOKENS.items()} for start in (0, 4)
    ),
}


@pytest.mark.parametrize("memory", [False, True])
@pytest.mark.parametrize("make", MAPPINGS.values(), ids=MAPPINGS)
def test_inputs_by_name_of_every_kind_give_the_same_features(expected, tmp_path, make, memory):
    extractor = FeatureExtractor(
        Words(), layer=["words", None], batch_size=4, memory=tmp_path if memory else None
    )
    for _ in range(2):
        np.testing.assert_allclose(extractor.fit_transform(make()), expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(extractor.transform(make()), expected, rtol=1e-4, atol=1e-6)


def test_other_lengths_of_sequences_are_taken_and_other_names_refused(expected):
    extractor = FeatureExtractor(Words(), layer=["words", None]).fit(TOKENS)
    shorter = {name: values[[3, 5], :3] for name, values in TOKENS.items()}
    np.testing.assert_allclose(extractor.transform(shorter), expected[[3, 5]], rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match=r"X has inputs of these names .* at fit they were"):
        extractor.transform({"input_ids": IDS})
    with pytest.raises(ValueError, match="X must have arrays of one length by name, got"):
        extractor.transform({**TOKENS, "attention_mask": MASK[:5]})


class _Table(nn.Module):
    """Numbers and categories, by name."""

    def __init__(self):
        super().__init__()
        self.kinds = nn.Embedding(5, 2)
        self.head = nn.Linear(3 + 3 * 2, 2)

    def forward(self, numbers, categories):
        return self.head(torch.cat([numbers, self.kinds(categories).flatten(1)], 1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_numbers_and_categories(dtype):
    network = _Table().to(dtype)
    numbers, categories = RNG.random((6, 3)), RNG.integers(0, 5, (6, 3))
    with torch.inference_mode():
        expected = network(torch.tensor(numbers).to(dtype), torch.tensor(categories)).float()
    X = {"numbers": numbers, "categories": categories}
    np.testing.assert_allclose(FeatureExtractor(network).fit_transform(X), expected, 1e-4, 1e-5)


# Texts.

VOCABULARY = ["the", "cat", "sat", "on", "a", "mat", "and", "then", "it", "ran"]
TEXTS = ["the cat sat on a mat", "it ran", "then the cat ran and sat", "a", "the mat", "and on"]


def tokenized(texts):
    """Number words; pad texts to the longest one."""
    numbers = [[1 + VOCABULARY.index(word) for word in text.split()] for text in texts]
    longest = max(map(len, numbers))
    return {
        "input_ids": np.array([each + [0] * (longest - len(each)) for each in numbers]),
        "attention_mask": np.array([[1] * len(n) + [0] * (longest - len(n)) for n in numbers]),
    }


def _of_texts(texts):
    network = Words().eval()
    X = {name: torch.tensor(values) for name, values in tokenized(texts).items()}
    with torch.inference_mode():
        return network(**X)["logits"].numpy()


@pytest.mark.parametrize(
    "make", [list, tuple, np.array, pd.Series, lambda t: pd.DataFrame({"t": t})]
)
@pytest.mark.parametrize("batch_size", [1, 4, 6])
def test_texts_are_tokenized_in_batches(tmp_path, make, batch_size):
    extractor = FeatureExtractor(
        Words(), preprocessing=tokenized, batch_size=batch_size, memory=tmp_path
    )
    for _ in range(2):
        features = extractor.fit(make(TEXTS)).transform(make(TEXTS))
        np.testing.assert_allclose(features, _of_texts(TEXTS), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(extractor.transform(make(TEXTS[1:2])), _of_texts(TEXTS[1:2]), 1e-4)


def test_a_text_that_cannot_be_tokenized_is_named():
    extractor = FeatureExtractor(Words(), preprocessing=tokenized, batch_size=2).fit(TEXTS)
    with pytest.raises(ValueError, match="dog") as caught:
        extractor.transform([*TEXTS, "the dog"])
    assert (
        "texts (sample 0 names no file) together to a batch, from sample 6 on"
        in (caught.value.__notes__[0])
    )


def test_texts_without_a_tokenizer_are_told_what_they_lack():
    with pytest.raises(FileNotFoundError, match=r"no picture 'the cat.*for texts, give"):
        FeatureExtractor(Words()).fit(TEXTS)


def test_a_tokenizer_of_transformers_pads_and_masks(tmp_path):
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    words = {"[PAD]": 0, **{word: 1 + number for number, word in enumerate(VOCABULARY)}}
    fast = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[PAD]"))
    fast.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=fast,
        pad_token="[PAD]",
        model_max_length=16,
        model_input_names=["input_ids", "attention_mask"],
    )
    extractor = FeatureExtractor(Words(), preprocessing=tokenizer, batch_size=4, memory=tmp_path)
    features = extractor.fit(TEXTS).transform(TEXTS)
    np.testing.assert_allclose(features, _of_texts(TEXTS), rtol=1e-4, atol=1e-6)
    files = sorted(tmp_path.rglob("*.npy"))
    np.testing.assert_array_equal(extractor.fit(TEXTS).transform(TEXTS), features)
    assert sorted(tmp_path.rglob("*.npy")) == files


# Containers of pictures.

PIXELS = RNG.integers(0, 256, (6, 12, 12), np.uint8)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for number, pixels in enumerate(PIXELS):
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return [str(folder / f"{number}.png") for number in range(6)]


class _Stream(IterableDataset):
    def __init__(self, items):
        self.items = items

    def __iter__(self):
        return iter(self.items)


class _Listed(Dataset):
    """Items that are lists of a picture and its label."""

    def __len__(self):
        return 6

    def __getitem__(self, index):
        return [torch.from_numpy(PIXELS[index][None]), index]


FLOATS = PIXELS[:, None] / np.float32(255)
PICTURES = {
    "DataLoader": lambda files: DataLoader(TensorDataset(torch.from_numpy(FLOATS)), batch_size=4),
    "DataLoader with labels, shuffled": lambda files: DataLoader(_Listed(), 4, shuffle=True),
    "DataLoader of some": lambda files: DataLoader(_Listed(), 4, sampler=range(6)),
    "generator of batches": lambda files: (FLOATS[start : start + 4] for start in (0, 4)),
    "generator of labelled tensors": lambda files: (
        (torch.from_numpy(FLOATS[start : start + 4]), 0) for start in (0, 4)
    ),
    "iterator of paths": iter,
    "glob": lambda files: (path for path in sorted(Path(files[0]).parent.glob("*.png"))),
    "IterableDataset": lambda files: _Stream(list(torch.from_numpy(FLOATS))),
    "DataLoader of an IterableDataset": lambda files: DataLoader(_Stream(list(FLOATS)), 4),
    "bytes": lambda files: [Path(file).read_bytes() for file in files],
    "buffers": lambda files: [io.BytesIO(Path(file).read_bytes()) for file in files],
    "Dataset of lists": lambda files: _Listed(),
    "polars column": lambda files: pytest.importorskip("polars").Series(files),
    "polars frame": lambda files: pytest.importorskip("polars").DataFrame({"path": files}),
    "pyarrow column": lambda files: pytest.importorskip("pyarrow").array(files),
}


@pytest.mark.parametrize("make", PICTURES.values(), ids=PICTURES)
def test_pictures_in_every_container_give_the_same_features(files, tmp_path, make):
    expected = FeatureExtractor(Convolutional()).fit_transform(FLOATS)
    extractor = FeatureExtractor(Convolutional(), batch_size=4, memory=tmp_path)
    for _ in range(2):
        features = extractor.fit_transform(make(files))
        np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-6)


ONE = {
    "path": lambda file: file,
    "Path": Path,
    "image": Image.open,
    "bytes": lambda file: Path(file).read_bytes(),
    "buffer": lambda file: io.BytesIO(Path(file).read_bytes()),
}


@pytest.mark.parametrize("make", ONE.values(), ids=ONE)
def test_one_picture_is_a_list_of_one(files, make):
    expected = FeatureExtractor(Convolutional()).fit_transform(FLOATS[:1])
    extractor = FeatureExtractor(Convolutional()).fit(files)
    np.testing.assert_allclose(extractor.transform(make(files[0])), expected, rtol=1e-4, atol=1e-6)


EMPTY = {
    "iterator": (lambda: iter([]), "X is a list_iterator that gives no samples"),
    "generator": (lambda: (each for each in ()), "X is a generator that gives no samples"),
    "DataLoader": (lambda: DataLoader(_Stream([])), "that gives no samples"),
    "LazyFrame": (lambda: pytest.importorskip("polars").LazyFrame({"a": [1]}), r"call collect\(\)"),
    "mapping of nothing": (lambda: {"input_ids": IDS[:0]}, "0 sample"),
    "empty mapping": (dict, "arrays of one length by name, got {}"),
}


@pytest.mark.parametrize(("make", "message"), EMPTY.values(), ids=EMPTY)
def test_what_has_no_samples_is_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        FeatureExtractor(Convolutional()).fit(make())


# A skorch net is trained with the labels of the Dataset.


class _Cut(Dataset):
    """The first column is what the label says."""

    def __init__(self, *, named):
        self.named = named

    def __len__(self):
        return 40

    def __getitem__(self, index):
        row = torch.full((4,), float(index % 2))
        return {"X": row, "label": index % 2} if self.named else (row[None, None], index % 2)


class _Flat(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 2)

    def forward(self, X):
        return self.head(X.flatten(1))


@pytest.mark.parametrize("named", [False, True])
def test_a_skorch_net_takes_labels_from_the_dataset(named):
    skorch = pytest.importorskip("skorch")
    torch.manual_seed(0)
    net = skorch.NeuralNetClassifier(
        _Flat, criterion=nn.CrossEntropyLoss, max_epochs=30, lr=0.5, train_split=None, verbose=0
    )
    features = (
        FeatureExtractor(net, device="cpu").fit(_Cut(named=named)).transform(_Cut(named=named))
    )
    assert (features.argmax(1) == np.arange(40) % 2).all()


class _Tokens(Dataset):
    """Tokens by name, with a label beside them."""

    def __init__(self, n=6):
        random = torch.Generator().manual_seed(0)
        self.ids = torch.randint(0, 20, (n, 4), generator=random)

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, index):
        return {"x": self.ids[index]}, int(index) % 2


class _Embedding(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(20, 3)

    def forward(self, x):
        return self.embed(x).mean(dim=1)


@pytest.mark.parametrize("contain", [lambda d: d, lambda d: DataLoader(d, batch_size=2)])
def test_a_mapping_may_come_with_a_label(contain, tmp_path):
    network, samples = _Embedding(), _Tokens()
    extractor = FeatureExtractor(network, memory=tmp_path)
    with torch.no_grad():
        expected = network(samples.ids).numpy()
    np.testing.assert_allclose(extractor.fit_transform(contain(samples)), expected, atol=1e-6)
    pipe = make_pipeline(FeatureExtractor(network), GaussianDensityClassifier())
    pipe.fit(contain(samples), np.arange(6) % 2)


@pytest.mark.parametrize("n_parts", [3, 4])
@pytest.mark.parametrize("contain", [lambda d: d, lambda d: DataLoader(d, batch_size=2)])
def test_a_second_input_is_never_dropped(contain, n_parts):
    parts = [torch.rand(6, 3) for _ in range(n_parts)]
    with pytest.raises(TypeError, match=f"a sample has {n_parts} parts.*several inputs by name"):
        FeatureExtractor(torch.nn.Linear(3, 2)).fit(contain(TensorDataset(*parts)))


@pytest.mark.parametrize(
    "sampler", [WeightedRandomSampler([1.0] * 6, 6), SubsetRandomSampler([4, 2, 0, 1])], ids=str
)
def test_a_loader_that_draws_at_random_is_refused(sampler):
    loader = DataLoader(TensorDataset(torch.rand(6, 3)), batch_size=2, sampler=sampler)
    extractor = FeatureExtractor(torch.nn.Linear(3, 2))
    state = torch.random.get_rng_state()
    with pytest.raises(ValueError, match="draws in random order, which no labels could follow"):
        extractor.fit(loader)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_sampler_that_draws_the_same_each_time_is_followed():
    X, network = torch.rand(6, 3), torch.nn.Linear(3, 2)
    loader = DataLoader(TensorDataset(X), batch_size=2, sampler=[4, 0, 2])
    features = FeatureExtractor(network).fit_transform(loader)
    np.testing.assert_allclose(features, network(X[[4, 0, 2]]).detach().numpy(), atol=1e-6)


class Frames(nn.Module):
    """Frames of a sound: fewer than its samples, which are what is masked."""

    def __init__(self):
        super().__init__()
        self.frames = nn.Linear(8, 5)
        self.head = nn.Linear(5, 2)

    def forward(self, input_values, attention_mask):
        return self.head(self.frames(input_values.unfold(1, 8, 8)).mean(dim=1))


def test_a_mask_of_other_places_than_the_layers_is_refused_where_it_masks():
    sounds = {
        "input_values": RNG.normal(size=(4, 32)).astype(np.float32),
        "attention_mask": np.ones((4, 32), np.int64),
    }
    network = Frames()
    features = FeatureExtractor(network, layer="frames").fit_transform(sounds)
    with torch.no_grad():
        frames = network.frames(torch.from_numpy(sounds["input_values"]).unfold(1, 8, 8))
    np.testing.assert_allclose(features, frames.mean(dim=1).numpy(), atol=1e-6)
    sounds["attention_mask"][0, 20:] = 0
    with pytest.raises(
        ValueError, match=r"4 places for 32 in attention_mask.*samples of one length"
    ):
        FeatureExtractor(network, layer="frames").fit_transform(sounds)


def test_samples_whose_names_differ_are_refused_with_both():
    samples = [{"input": np.ones(3, np.float32)}, {"other": np.ones(3, np.float32)}]
    extractor = FeatureExtractor(nn.Linear(3, 2)).fit(samples[:1])
    with pytest.raises(ValueError, match=r"of the same names, got \['input'\] and \['other'\]"):
        extractor.transform(samples)
