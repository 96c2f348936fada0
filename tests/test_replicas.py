"""Replicas kept between calls: used again only where nobody could tell."""

import copy
import gc
import io
import random
import threading
import weakref
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import joblib
import numpy as np
import pytest
import torch
from networks import Convolutional
from numpy.testing import assert_array_equal
from sklearn.base import clone
from torch import nn

from sklearn_densconf.features import FeatureExtractor, FrozenBackbone
from sklearn_densconf.features._replicas import Replicas, State

X = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)


class Counting(nn.Module):
    """A network that counts its passes, in one of many places; its output tells the number."""

    def __init__(self, count):
        super().__init__()
        self.line = nn.Linear(4, 3)
        self.register_buffer("n", torch.zeros(1))
        self.register_buffer("unused", None)
        self.number = 1000
        self.numbers, self.seen, self.by_name = [], set(), {"n": 0}
        self.deep = {"list": [(deque(), [])]}
        self.thing = Thing()
        self.scale = np.zeros(1)
        self.random = random.Random(0)
        self.embedding = nn.Embedding(2, 3, max_norm=0.1)
        self.call = partial(add_to, [])
        self.count = count

    def forward(self, X):
        return self.line(X) + self.count(self)


class Thing:
    def __init__(self):
        self.n = 0

    def increase(self):
        self.n += 1
        return self.n


def add_to(numbers):
    numbers.append(1)
    return len(numbers)


def in_place(net):
    return net.n.add_(1)


def rebound(net):
    net.n = net.n + 1
    return net.n


def other_data(net):
    net.n.data = net.n + 1
    return net.n


def resized(net):
    return len(net.n.resize_(len(net.n) + 1))


def new_buffer(net):
    net.unused = torch.ones(1) if net.unused is None else net.unused + 1
    return net.unused


def attribute(net):
    net.number += 1
    return net.number


def new_attribute(net):
    net.late = getattr(net, "late", 0) + 1
    return net.late


def in_list(net):
    return add_to(net.numbers)


def in_set(net):
    net.seen.add(len(net.seen))
    return len(net.seen)


def in_dict(net):
    net.by_name["n"] += 1
    return net.by_name["n"]


def deep_in_lists(net):
    net.deep["list"][0][0].append(2)
    return len(net.deep["list"][0][0])


def in_object(net):
    return net.thing.increase()


def in_array(net):
    net.scale += 1
    return float(net.scale[0])


def in_generator(net):
    return net.random.random()


def in_partial(net):
    return net.call()


def in_weights(net):
    net.embedding(torch.tensor([0]))
    return net.embedding.weight.norm()


PLACES = [
    *(in_place, rebound, other_data, resized, new_buffer, attribute, new_attribute, in_list),
    *(in_set, in_dict, deep_in_lists, in_object, in_array, in_generator, in_partial, in_weights),
]


@pytest.mark.filterwarnings("ignore:the features of a sample depend")
@pytest.mark.parametrize("count", PLACES, ids=lambda count: count.__name__)
def test_what_a_pass_changes_is_not_there_in_the_next_call(count):
    network = Counting(count)
    extractor = FeatureExtractor(network, device="cpu", batch_size=3).fit(X)
    first = extractor.transform(X)
    assert_array_equal(extractor.transform(X), first)
    with torch.inference_mode():
        fresh = extractor.backbone_.network()
        expected = torch.cat([fresh(torch.tensor(X[:3])), fresh(torch.tensor(X[3:]))])
    assert_array_equal(first, expected)
    assert_array_equal(copy.deepcopy(extractor).transform(X), first)


class Notes:
    """Which replicas ran, and how many threads were in each at once."""

    def __init__(self):
        self.runs, self.inside, self.most = [], {}, {}

    def __reduce__(self):  # no part of a network's content
        return "NOTES"

    def enter(self, replica):
        self.runs.append(weakref.ref(replica))
        n = self.inside[id(replica)] = self.inside.get(id(replica), 0) + 1
        self.most[id(replica)] = max(n, self.most.get(id(replica), 0))

    def leave(self, replica):
        self.inside[id(replica)] -= 1


NOTES = Notes()


class Noting(nn.Module):
    def __init__(self):
        super().__init__()
        self.line, self.norm = nn.Linear(4, 3), nn.BatchNorm1d(3)

    def forward(self, X):
        NOTES.enter(self)
        features = self.norm(self.line(X))
        NOTES.leave(self)
        return features


def replicas_of(*calls):
    """Return the distinct replicas that calls run."""
    gc.collect()
    NOTES.__init__()
    for call in calls:
        call()
    assert all(run() is not None for run in NOTES.runs)
    return {id(run()) for run in NOTES.runs}


def test_calls_one_after_the_other_share_a_replica():
    extractor = FeatureExtractor(Noting(), device="cpu", batch_size=4).fit(X)
    again = partial(extractor.transform, X)
    assert len(replicas_of(again, again, lambda: list(extractor.iter_transform(X)))) == 1


def test_fit_transform_and_transform_share_a_replica():
    extractor = FeatureExtractor(Noting(), device="cpu")
    assert len(replicas_of(lambda: extractor.fit_transform(X), lambda: extractor.transform(X))) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda e: e.set_params(pooling="max"),
        lambda e: e.set_params(channel_axis=1),
        lambda e: e.fit(X),
        lambda e: e.set_params(layer="norm").fit(X),
    ],
)
def test_another_setting_and_another_fit_have_other_replicas(change):
    extractor = FeatureExtractor(Noting(), device="cpu").fit(X)
    before = replicas_of(lambda: extractor.transform(X))
    kept = NOTES.runs[0]()  # else its address could be given again
    change(extractor)
    assert before.isdisjoint(replicas_of(lambda: extractor.transform(X)))
    assert kept is not None


def test_settings_are_seen_between_calls():
    class Maps(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution = nn.Conv2d(1, 2, 3)

        def forward(self, X):
            return self.convolution(X)

    pictures = np.random.default_rng(0).normal(size=(3, 1, 5, 5)).astype(np.float32)
    extractor = FeatureExtractor(Maps(), device="cpu").fit(pictures)
    average = extractor.transform(pictures)
    largest = extractor.set_params(pooling="max").transform(pictures)
    rough = extractor.set_params(precision="bfloat16").transform(pictures)
    assert (largest > average).all()
    assert (rough != largest).any()
    assert_array_equal(
        extractor.set_params(pooling="avg", precision="float32").transform(pictures), average
    )


def test_two_iterators_in_one_thread_have_a_replica_each():
    extractor = FeatureExtractor(Counting(in_place), device="cpu", batch_size=2)
    with pytest.warns(UserWarning, match="the features of a sample depend"):
        extractor.fit(X)
    pairs = list(zip(extractor.iter_transform(X), extractor.iter_transform(X), strict=True))
    assert all(np.array_equal(one, other) for one, other in pairs)
    assert_array_equal(np.concatenate([one for one, _ in pairs]), extractor.transform(X))


def test_no_two_threads_are_ever_in_one_replica():
    many = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
    extractor = FeatureExtractor(Noting(), device="cpu", batch_size=8).fit(many)
    expected = extractor.transform(many)
    NOTES.__init__()
    barrier = threading.Barrier(16)

    def run(_number):
        barrier.wait()
        return [extractor.transform(many) for _ in range(20)]

    with ThreadPoolExecutor(16) as threads:
        for features in threads.map(run, range(16)):
            assert all(np.array_equal(each, expected) for each in features)
    assert set(NOTES.most.values()) == {1}


def test_threads_that_count_in_their_buffers_get_the_serial_result():
    extractor = FeatureExtractor(Counting(in_place), device="cpu", batch_size=2)
    with pytest.warns(UserWarning, match="the features of a sample depend"):
        extractor.fit(X)
    expected = extractor.transform(X)
    with ThreadPoolExecutor(12) as threads:
        found = threads.map(lambda _: extractor.transform(X), range(120))
        assert all(np.array_equal(each, expected) for each in found)


def test_a_thread_that_has_ended_leaves_its_replica_to_the_next():
    extractor = FeatureExtractor(Noting(), device="cpu").fit(X)

    def in_a_thread():
        thread = threading.Thread(target=extractor.transform, args=(X,))
        thread.start()
        thread.join()

    assert len(replicas_of(*[in_a_thread] * 5)) == 1


def test_an_extractor_that_is_gone_leaves_no_replica():
    extractor = FeatureExtractor(Noting(), device="cpu").fit(X)
    frozen = extractor.backbone_  # which lives on, as that of a library does
    replicas_of(partial(extractor.transform, X))
    assert NOTES.runs[0]() is not None
    del extractor
    gc.collect()
    assert NOTES.runs[0]() is None
    assert isinstance(frozen, FrozenBackbone)


@pytest.mark.parametrize(
    "copied", [clone, copy.copy, copy.deepcopy, lambda e: joblib.load(dumped(e))]
)
def test_copies_of_an_extractor_have_replicas_of_their_own(copied):
    extractor = FeatureExtractor(Noting(), device="cpu").fit(X)
    other = copied(extractor)
    if not hasattr(other, "backbone_"):
        other.fit(X)
    ours = replicas_of(lambda: extractor.transform(X))
    kept = NOTES.runs[0]()
    assert ours.isdisjoint(replicas_of(lambda: other.transform(X)))
    assert kept is not None


def dumped(extractor):
    file = io.BytesIO()
    joblib.dump(extractor, file)
    file.seek(0)
    return file


def test_use_changes_neither_pickle_nor_hash():
    extractor = FeatureExtractor(Convolutional(), device="cpu")
    pictures = np.zeros((2, 1, 12, 12), np.float32)
    extractor.fit(pictures)
    before = joblib.hash(extractor), dumped(extractor).getvalue()
    extractor.transform(pictures)
    assert (joblib.hash(extractor), dumped(extractor).getvalue()) == before
    assert "_replicas" not in extractor.__getstate__()


@pytest.mark.filterwarnings("ignore:the features of a sample depend")
def test_after_an_error_the_next_call_has_another_replica():
    class Failing(Noting):
        def forward(self, X):
            self.norm.running_mean += 1
            features = super().forward(X)
            if (X > 100).any():
                raise RuntimeError("too large")
            return features

    extractor = FeatureExtractor(Failing(), device="cpu", batch_size=1).fit(X)
    expected = extractor.transform(X)
    for bad in (np.full((1, 4), 200, np.float32), np.vstack([X, np.full((1, 4), 200)])):
        with pytest.raises((ValueError, RuntimeError), match="too large"):
            extractor.transform(bad.astype(np.float32))
        assert_array_equal(extractor.transform(X), expected)


def test_calls_do_not_change_the_frozen_copy():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.LazyLinear(2))
    pictures = np.random.default_rng(0).normal(size=(4, 1, 6, 6)).astype(np.float32)
    network(torch.tensor(pictures))
    extractor = FeatureExtractor(network, device="cpu").fit(pictures)
    before = [array.copy() for array in extractor.backbone_._arrays]
    for _ in range(3):
        extractor.transform(pictures)
    for was, now in zip(before, extractor.backbone_._arrays, strict=True):
        assert_array_equal(was, now)


def test_no_more_replicas_are_kept_than_the_limit():
    replicas = Replicas()
    for replica in [replicas.take("key", lambda: (object(), State(nn.ReLU()))) for _ in range(100)]:
        replicas.give_back(replica)
    assert len(replicas._free) == 64


@pytest.mark.parametrize(
    "held",
    [
        torch.Generator(),
        torch.ones(1).expand(3),
        np.zeros(2),
        iter([1]),
        threading.Event(),
        torch.zeros(2, device="meta"),
        torch.eye(2).to_sparse(),
    ],
    ids=lambda held: type(held).__name__,
)
def test_a_replica_that_holds_what_cannot_be_watched_is_not_kept(held):
    network = nn.ReLU()
    assert State(network).restored()
    network.held = [{"deep": held}]
    assert not State(network).restored()
