"""FrozenBackbone and fingerprints: the network's immutable copy, the same in every process."""

import copy
import functools
import os
import pickle
import pickletools
import subprocess
import sys
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import joblib
import numpy as np
import pytest
import torch
from networks import Convolutional
from torch import nn

from sklearn_densconf import FeatureExtractor
from sklearn_densconf._fingerprint import fingerprint
from sklearn_densconf.features import FrozenBackbone

HERE = Path(__file__).resolve().parent


def _tied():
    network = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    network[1].weight = network[0].weight
    return network


class _Attributes(nn.Module):
    """Tensors that are neither parameters nor buffers, in plain attributes."""

    def __init__(self):
        super().__init__()
        self.scales = [torch.arange(3.0), {"last": torch.ones(1)}]

    def forward(self, X):
        return X * self.scales[0] + self.scales[1]["last"]


NETWORKS = {
    "convolutional": Convolutional,
    "tied": _tied,
    "attributes": _Attributes,
    "lstm": lambda: nn.LSTM(3, 4, 2),
    "attention": lambda: nn.TransformerEncoderLayer(8, 2, batch_first=True),
    "bfloat16": lambda: nn.Linear(2, 2, dtype=torch.bfloat16),
    "complex": lambda: nn.Linear(2, 2, dtype=torch.complex64),
    "scalar": nn.PReLU,
    "empty": nn.Sequential,
    "traced": lambda: torch.fx.symbolic_trace(nn.Sequential(nn.Linear(3, 2), nn.ReLU())),
}


@pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)
def test_a_replica_has_the_networks_tensors_also_after_pickling(build):
    network = build()
    frozen = FrozenBackbone(network)
    for held in (frozen, pickle.loads(pickle.dumps(frozen))):
        replica = held.network()
        assert not any(part.training for part in replica.modules())
        assert replica.state_dict().keys() == network.state_dict().keys()
        for name, tensor in network.state_dict().items():
            torch.testing.assert_close(replica.state_dict()[name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)
def test_a_pickle_holds_no_torch_storage(build):
    opcodes = pickletools.genops(pickle.dumps(FrozenBackbone(build())))
    names = {argument for _, argument, _ in opcodes if isinstance(argument, str)}
    assert not {name for name in names if "storage" in name.lower() or "_rebuild_t" in name}


def test_tied_weights_stay_tied():
    replica = FrozenBackbone(_tied()).network()
    assert replica[0].weight is replica[1].weight


def test_replicas_share_weights_but_neither_hooks_nor_attributes():
    frozen = FrozenBackbone(Convolutional())
    one, other = frozen.network(), frozen.network()
    one.head.register_forward_hook(lambda *_: 1 / 0)
    one.remark = "mine"
    other(torch.zeros(1, 1, 12, 12))
    assert not hasattr(other, "remark")
    assert one.head.weight is other.head.weight


def test_requires_grad_is_kept_and_gradients_reach_the_input():
    network = Convolutional()
    network.head.weight.requires_grad_(False)
    with torch.inference_mode():  # tensors made here could never enter autograd
        replica = FrozenBackbone(network).network()
    assert not replica.head.weight.requires_grad
    assert replica.hidden.weight.requires_grad
    X = torch.zeros(1, 1, 12, 12, requires_grad=True)
    replica(X).sum().backward()
    assert X.grad is not None


def test_copies_are_the_same_object():
    frozen = FrozenBackbone(Convolutional())
    assert copy.deepcopy(frozen) is copy.copy(frozen) is frozen


def test_it_tells_its_layers_type_and_size():
    frozen = FrozenBackbone(nn.Sequential(nn.Linear(3, 2), nn.ReLU()))
    assert frozen.layer_names == ["", "0", "1"]
    assert frozen.dtype == torch.float32
    assert FrozenBackbone(nn.ReLU()).dtype == torch.float32
    assert FrozenBackbone(nn.Linear(2, 2).double()).dtype == torch.float64
    assert repr(frozen) == "FrozenBackbone(Sequential, 8 parameters)"


def _in_another_process(code):
    paths = os.pathsep.join([str(HERE), *sys.path])
    env = {**os.environ, "PYTHONPATH": paths, "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_hash_and_fingerprint_are_the_same_in_another_process():
    code = (
        "import joblib, networks; from sklearn_densconf.features import FrozenBackbone as F\n"
        "f = F(networks.Convolutional()); print(joblib.hash(f), f.fingerprint)"
    )
    frozen = FrozenBackbone(Convolutional())
    assert _in_another_process(code) == [joblib.hash(frozen), frozen.fingerprint]


@pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)
def test_the_fingerprint_survives_copies_and_pickles(build):
    torch.manual_seed(0)
    network = build()
    frozen = FrozenBackbone(network)
    again = pickle.loads(pickle.dumps(frozen))
    others = [FrozenBackbone(copy.deepcopy(network)), again, FrozenBackbone(again.network())]
    assert {other.fingerprint for other in others} == {frozen.fingerprint}
    assert {joblib.hash(other) for other in others[:2]} == {joblib.hash(frozen)}


def test_every_weight_enters_the_fingerprint():
    network = Convolutional()
    before = FrozenBackbone(network)
    with torch.no_grad():
        network.body[1].running_mean[2] += 1e-6  # a buffer
    after = FrozenBackbone(network)
    assert before.fingerprint != after.fingerprint
    assert joblib.hash(before) != joblib.hash(after)


def test_the_order_of_layers_without_weights_enters_the_fingerprint():
    layers = [("tanh", nn.Tanh()), ("rectifier", nn.ReLU())]
    one, other = (
        FrozenBackbone(nn.Sequential(OrderedDict(order))) for order in (layers, layers[::-1])
    )
    assert one.fingerprint != other.fingerprint
    assert joblib.hash(one) != joblib.hash(other)


MODULE = """
from torch import nn
class Net(nn.Module):
    @staticmethod
    def scale(X, *, by={by}):
        return X * by
    @property
    def offset(self):
        return {offset}
    def forward(self, X):
        return self.scale(X) {operation} self.offset
"""


@pytest.mark.parametrize("edit", [{}, {"by": 3}, {"offset": 2}, {"operation": "-"}])
def test_the_code_of_the_networks_class_enters_the_fingerprint(monkeypatch, edit):
    prints = []
    for change in ({}, edit):
        edited = ModuleType("edited")
        exec(MODULE.format(**{"by": 2, "offset": 1, "operation": "+", **change}), vars(edited))
        monkeypatch.setitem(sys.modules, "edited", edited)
        frozen = FrozenBackbone(edited.Net())
        prints.append([joblib.hash(frozen), frozen.fingerprint])
    first, second = prints
    assert [a == b for a, b in zip(first, second, strict=True)] == [edit == {}] * 2


def _edited(monkeypatch, **change):
    edited = ModuleType("edited")
    exec(MODULE.format(**{"by": 2, "offset": 1, "operation": "+", **change}), vars(edited))
    monkeypatch.setitem(sys.modules, "edited", edited)
    return edited


def test_a_loaded_network_is_compared_with_the_code_that_is_there(monkeypatch, tmp_path):
    X = np.ones((2, 3), np.float32)
    saved = FeatureExtractor(_edited(monkeypatch).Net(), memory=tmp_path).fit(X)
    before = saved.transform(X)
    pickled = pickle.dumps(saved)
    again = pickle.loads(pickled)
    np.testing.assert_array_equal(again.transform(X), before)
    assert again.backbone_.fingerprint == saved.backbone_.fingerprint
    _edited(monkeypatch, offset=2)
    loaded = pickle.loads(pickled)
    with pytest.warns(UserWarning, match=r"the code of Net, .* is not that with which it was") as w:
        after = loaded.transform(X)
    np.testing.assert_array_equal(after, before + 1)
    assert len(w) == 1
    assert loaded.backbone_.fingerprint != saved.backbone_.fingerprint
    without_memory = pickle.loads(pickled).set_params(memory=None)
    with pytest.warns(UserWarning, match="the code of Net"):
        without_memory.transform(X)


def _scaled(picture, factor=2):
    return picture * factor


class _Scale:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, picture):
        return picture * self.factor


def _make_scaling(factor):
    return lambda picture: picture * factor


DISTINCT = [
    lambda picture: picture + 1,
    lambda picture: picture + 2,
    _make_scaling(2),
    _make_scaling(3),
    _scaled,
    functools.partial(_scaled, factor=2),
    functools.partial(_scaled, factor=3),
    functools.partial(lambda picture, factor: picture - factor, factor=3),
    _Scale(2),
    _Scale(torch.tensor([2.0])),
    _Scale(torch.tensor([3.0])),
    _Scale(torch.tensor([2.0], dtype=torch.float64)),
    _Scale({"b", "a"}),
    _Scale({"c", "a"}),
    _Scale(frozenset({"c", "a"})),
    _Scale(np.float32(2)),
    _Scale(np.array([2.0])),
    _Scale(np.array([[2.0]])),
    _Scale(np.array([2.0], np.float32)),
    _Scale(np.array(["a", None], object)),
    _Scale(np.array(["b", None], object)),
    _Scale("2"),
    _Scale(b"2"),
    _Scale(True),
    _Scale(2.0),
    _Scale(...),
    _Scale(os),
    _Scale(len),
    _Scale(torch.float32),
    _Scale("ab".upper),
    _Scale([(1, 2), {"a": None}]),
]


def test_what_differs_in_code_or_state_has_another_fingerprint():
    assert len({fingerprint(value) for value in DISTINCT}) == len(DISTINCT)


def test_equal_objects_have_one_fingerprint():
    pair = tuple(int(digit) for digit in "12")
    assert fingerprint(_make_scaling(2)) == fingerprint(_make_scaling(2))
    assert fingerprint(_Scale(torch.ones(2))) == fingerprint(_Scale(torch.ones(2)))
    assert fingerprint(_Scale((1, 2)), (1, 2)) == fingerprint(_Scale(pair), pair)
    assert fingerprint(np.arange(8)[::2]) == fingerprint(np.array([0, 2, 4, 6]))


def test_an_object_that_holds_itself_has_a_fingerprint():
    one, other = [1], [1]
    one.append(one)
    other.append(other)
    assert fingerprint(one) == fingerprint(other)


def test_several_threads_may_ask_for_the_first_replica():
    frozen = FrozenBackbone(Convolutional())
    with ThreadPoolExecutor(8) as pool:
        replicas = list(pool.map(lambda _: frozen.network(), range(32)))
    assert len({replica.head.weight.data_ptr() for replica in replicas}) == 1


class _Uncopyable(nn.Module):
    def __deepcopy__(self, memo):
        raise RuntimeError("not me")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: 3, "a network must be a torch.nn.Module, got int"),
        (lambda: nn.LazyLinear(2), "lazy layer without weights: run one batch through it"),
        (lambda: nn.Linear(2, 2, device="meta"), "torch.float32 .* on meta; only dense tensors"),
        (_Uncopyable, r"_Uncopyable cannot be copied \(not me\). Pass a string 'package"),
    ],
)
def test_a_network_that_cannot_be_held_is_refused(build, message):
    with pytest.raises(TypeError, match=message):
        FrozenBackbone(build())


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_torchscript_is_refused():
    scripted = torch.jit.script(nn.Linear(2, 2))
    with pytest.raises(TypeError, match=r"is TorchScript, which cannot be held\. Pass a"):
        FrozenBackbone(scripted)


def test_the_order_of_the_axes_in_memory_is_kept():
    network = Convolutional().to(memory_format=torch.channels_last)
    network.view = nn.Parameter(torch.arange(12.0).reshape(3, 4).T[:, ::2])  # with gaps
    replica = pickle.loads(pickle.dumps(FrozenBackbone(network))).network()
    for name, weight in replica.named_parameters():
        torch.testing.assert_close(weight, network.get_parameter(name), rtol=0, atol=0)
    assert replica.body[3].weight.stride() == network.body[3].weight.stride()
    assert not replica.body[3].weight.is_contiguous()


def test_a_replica_has_the_channels_last_where_asked_for():
    frozen = FrozenBackbone(Convolutional())
    plain, last = frozen.network(), frozen.network(channels_last=True)
    assert last.body[3].weight.is_contiguous(memory_format=torch.channels_last)
    assert plain.body[3].weight.is_contiguous()
    X = torch.rand(4, 1, 12, 12)
    torch.testing.assert_close(last(X), plain(X))
