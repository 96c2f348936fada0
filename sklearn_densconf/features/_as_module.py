"""A frozen network with its layers and their pooling as one module, for what traces modules.

It computes what `Tap` does, without its learning: all that only a pass can teach is learned once,
here. Nothing depends on the values of a batch or on its size, so that `torch.export`,
`torch.compile` and the exporter of ONNX follow it.
"""

import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import nn

from sklearn_densconf.features._built import BuiltBackbone
from sklearn_densconf.features._frozen import FrozenBackbone
from sklearn_densconf.features._layers import OUTPUT, PENULTIMATE, Learned, tensor_in
from sklearn_densconf.features._pooling import POOLINGS, Pooler, Pooling, fitting
from sklearn_densconf.features._tap import Finished, Tap
from sklearn_densconf.features.inputs import Batch

SUMS = ("avg", "cls")  # poolings that keep a NaN, or look at no more than they give


def as_module(
    backbone: FrozenBackbone | BuiltBackbone,
    poolings: Mapping[str, Pooling],
    channel_axes: Mapping[str, int],
    sample: Batch,
) -> "Layers":
    """Return a module from a batch to the pooled rows of some of a network's layers.

    Parameters
    ----------
    backbone : FrozenBackbone
        The network.
    poolings : dict of str to str or callable
        The wanted layers, "" for the network's output, and how each is pooled.
    channel_axes : dict of str to int
        Axes of channels that the user gave, by layer.
    sample : Tensor or Named
        A batch that the network takes, on the CPU, such as one sample; it is passed through once.

    Returns
    -------
    Layers
        The module, on the CPU, in evaluation mode, with weights of its own.

    Raises
    ------
    TypeError
        If the network is one that cannot be copied.
    ValueError
        As of `Tap`, of what the pass shows.
    """
    if isinstance(backbone, BuiltBackbone):
        raise TypeError(
            f"{backbone!r} cannot be made a module of: it is an ONNX model, TorchScript or what "
            "cannot be copied. Pass the torch.nn.Module that it was made of"
        )
    keeps = backbone.learned.takes_integers and not sample.is_floating_point()
    taken = sample if keeps else sample.to(backbone.dtype)
    with torch.inference_mode():
        tap = Tap(backbone.network(), poolings, backbone.learned, channel_axes)
        tap(taken)
    network = _with_weights_of_its_own(backbone.network())
    pooler = Pooler(poolings, channel_axes, dict(backbone.learned.channel_axes))
    rows = _Rows(poolings, pooler)
    return Layers(network, rows, backbone.learned, writes_to_input=tap.writes_to_input).eval()


def _with_weights_of_its_own(network: nn.Module) -> nn.Module:
    """Replace a replica's parameters by copies, of which a cast or a move changes no other's."""
    copies: dict[int, nn.Parameter] = {}  # tied parameters stay tied
    for part in network.modules():
        for name, shared in list(part.named_parameters(recurse=False, remove_duplicate=False)):
            if id(shared) not in copies:
                copies[id(shared)] = nn.Parameter(shared.detach().clone(), requires_grad=False)
            part.register_parameter(name, copies[id(shared)])
    return network


class Layers(nn.Module):
    """Rows of some layers of a network, float32; none is finite where what it is made of is not.

    Several threads may run it. It stays in evaluation mode, whatever ``train`` is told.

    Parameters
    ----------
    network : torch.nn.Module
        A replica of its own: hooks stay on it.
    rows : callable
        From a layer, what it gives and its module to rows.
    learned : Learned
        What a pass has taught about the network.
    writes_to_input : bool
        Whether the network writes into what it is given, and therefore is given copies.

    Attributes
    ----------
    names : list of str
        The layers, as `FeatureExtractor.feature_groups_` calls them.
    """

    def __init__(
        self, network: nn.Module, rows: "_Rows", learned: Learned, *, writes_to_input: bool
    ) -> None:
        super().__init__()
        self.network = network
        self._layers = list(rows.poolings)
        self.names = [layer or OUTPUT for layer in self._layers]
        self._takes_integers = learned.takes_integers
        self._writes_to_input = writes_to_input
        modules = dict(network.named_modules(remove_duplicate=False))
        self._runs_to_the_end = PENULTIMATE in self._layers and PENULTIMATE not in modules
        self._passes = _Passes(None if self._runs_to_the_end else len(self._layers))
        for layer in self._layers:
            if layer in modules:
                take = _TakeGiven(self._passes, layer, rows)
                modules[layer].register_forward_hook(take)
        if self._runs_to_the_end:
            last = modules[str(learned.last_linear)]
            last.register_forward_pre_hook(_TakeTaken(self._passes, rows), with_kwargs=True)

    def forward(self, *inputs: torch.Tensor, **named: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return one tensor (n, units) for each layer, of inputs that are given as to the network.

        They are cast to the type of its weights.
        """
        inputs = tuple(map(self._cast, inputs))
        named = {name: self._cast(tensor) for name, tensor in named.items()}
        taken = self._passes.begin(named.get("attention_mask"))
        if torch.compiler.is_compiling():  # what runs after the last layer is left out of graphs
            self.network(*inputs, **named)
        else:
            with suppress(Finished):
                self.network(*inputs, **named)
        rows = tuple(taken[layer] for layer in self._layers)
        self._passes.begin(None)  # keep nothing alive
        return rows

    def train(self, mode: bool = True) -> "Layers":  # noqa: ARG002 - as of every module
        """Stay in evaluation mode."""
        return super().train(False)

    def _cast(self, X: torch.Tensor) -> torch.Tensor:
        cast = X.is_floating_point() or not self._takes_integers
        return X.to(self._dtype if cast else X.dtype, copy=self._writes_to_input)

    @property
    def _dtype(self) -> torch.dtype:
        # A list: torch 2.6 cannot compile next() of an iterator with a default.
        floating = [p.dtype for p in self.network.parameters() if p.is_floating_point()]
        return floating[0] if floating else torch.float32


class _Rows:
    """Makes rows of what a layer gives.

    Parameters
    ----------
    poolings : dict of str to str or callable
        How each layer is pooled.
    pooler : Pooler
        It knows the axes of the channels.
    """

    def __init__(self, poolings: Mapping[str, Pooling], pooler: Pooler) -> None:
        self.poolings = dict(poolings)
        self._pooler = pooler

    def __call__(
        self, layer: str, output: Any, module: nn.Module | None, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the rows, a copy, since an in-place layer may follow."""
        maps = tensor_in(output)
        assert maps is not None  # the pass that taught has checked it
        n = maps.shape[0]  # not len: that would fix the size of the batch
        if maps.ndim <= 2 or self.poolings[layer] == "flatten":
            return maps.reshape(n, -1).to(torch.float32, copy=True)
        rows = self._pooled(layer, maps, module, mask).reshape(n, -1).to(torch.float32)
        if self.poolings[layer] in SUMS:
            return rows
        # Engines drop a NaN in the maximum of a map, or spread it: it is looked for before.
        is_finite = (maps.abs() < torch.inf).reshape(n, -1).all(1)
        return torch.where(is_finite[:, None], rows, torch.nan)

    def _pooled(
        self, layer: str, maps: torch.Tensor, module: nn.Module | None, mask: torch.Tensor | None
    ) -> torch.Tensor:
        pooling = self.poolings[layer]
        if not isinstance(pooling, str):
            return pooling(maps)
        channels = self._pooler.channel_axis(layer, maps, module)
        return POOLINGS[pooling](maps, channels, fitting(mask, maps, channels, layer or OUTPUT))


class _Pass:
    """What one pass has taken so far, and the mask of its tokens."""

    def __init__(self) -> None:
        self.taken: dict[str, torch.Tensor] = {}
        self.mask: torch.Tensor | None = None


class _OfThread(threading.local):
    """The pass of each thread. Copies and pickles have none."""

    def __init__(self) -> None:
        self.current = _Pass()

    def __reduce__(self) -> tuple[Any, ...]:
        return _OfThread, ()


class _Passes:
    """The passes that run: one in each thread, and that of a tracer, which knows no threads.

    Parameters
    ----------
    n_layers : int or None
        After how many layers a pass is finished; None: it runs to its end.
    """

    def __init__(self, n_layers: int | None) -> None:
        self._n_layers = n_layers
        self._of_thread = _OfThread()
        self._traced = _Pass()

    @property
    def current(self) -> _Pass:
        """The pass of whoever asks."""
        return self._traced if torch.compiler.is_compiling() else self._of_thread.current

    def begin(self, mask: torch.Tensor | None) -> dict[str, torch.Tensor]:
        """Begin a pass; return where it puts the rows of its layers."""
        current = self.current
        current.taken, current.mask = {}, mask
        return current.taken

    def end_if_done(self) -> None:
        """End the pass if all its layers have run."""
        if not torch.compiler.is_compiling() and len(self.current.taken) == self._n_layers:
            raise Finished


class _TakeGiven:
    """A hook that takes what a layer gives, of its first call. Not a closure: it can be copied."""

    def __init__(self, passes: _Passes, layer: str, rows: _Rows) -> None:
        self._passes, self._layer, self._rows = passes, layer, rows

    def __call__(self, module: nn.Module, _inputs: Any, output: Any) -> None:
        current = self._passes.current
        if self._layer not in current.taken:
            current.taken[self._layer] = self._rows(self._layer, output, module, current.mask)
        self._passes.end_if_done()


class _TakeTaken:
    """A hook that takes what the last linear layer takes, of its last call."""

    def __init__(self, passes: _Passes, rows: _Rows) -> None:
        self._passes, self._rows = passes, rows

    def __call__(self, _module: nn.Module, inputs: Any, named: Any) -> None:
        given = inputs[0] if inputs else next(iter(named.values()))
        current = self._passes.current
        current.taken[PENULTIMATE] = self._rows(PENULTIMATE, given, None, current.mask)
