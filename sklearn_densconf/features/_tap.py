"""Activations of named layers in one forward pass that stops after the last of them."""

import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import nn

from sklearn_densconf.features._layers import (
    OUTPUT,
    PENULTIMATE,
    Learned,
    is_linear,
    tensor_in,
)
from sklearn_densconf.features._pooling import Pooler, Pooling, Untraced
from sklearn_densconf.features.inputs import Batch, Named

SHOWN = 5  # names in an error


class Finished(BaseException):
    """Ends a forward pass; no Exception, so that no network catches it."""


class Tap:
    """A network that gives the pooled activations of some of its layers.

    Parameters
    ----------
    network : torch.nn.Module
        A replica of its own: hooks stay on it.
    poolings : dict of str to str or callable
        The wanted layers and how activations of more than two axes are pooled. Names are dotted,
        "" for the network itself, `PENULTIMATE` for the input of the last linear layer that runs.
        Of a layer that is called several times in one pass the first call counts.
    learned : Learned
        What earlier passes of the network taught, and this one may add to.
    channel_axes : dict of str to int, optional
        Axes of channels that the user gave.
    """

    def __init__(
        self,
        network: nn.Module,
        poolings: Mapping[str, Pooling],
        learned: Learned,
        channel_axes: Mapping[str, int] | None = None,
    ) -> None:
        self.network = network
        self._layers = list(poolings)
        self._poolings = poolings
        self._taken: dict[str, torch.Tensor] = {}
        self._ran: str | None = None
        self._shape: tuple[int, ...] = ()  # of the network's output
        self._learned = learned
        modules = dict(network.named_modules(remove_duplicate=False))
        self._runs_to_the_end = PENULTIMATE in poolings and PENULTIMATE not in modules
        self._writes_to_input: bool | None = None  # not known before a pass
        for layer in self._layers:
            if layer in modules:
                modules[layer].register_forward_hook(self._hook(layer))
        if self._runs_to_the_end:
            self._watch(modules)
        self._pool = Pooler(poolings, channel_axes or {}, learned.channel_axes)

    def _hook(self, layer: str) -> Callable[[nn.Module, object, object], None]:
        def take(module: nn.Module, _inputs: object, output: object) -> None:
            if layer not in self._taken:
                self._taken[layer] = self._rows(layer, output, module)
            if len(self._taken) == len(self._layers) and not self._runs_to_the_end:
                raise Finished

        return take

    def _watch(self, modules: dict[str, nn.Module]) -> None:
        """Hook the linear layers; the one defined last is supposed to run last."""
        linear = {name: part for name, part in modules.items() if is_linear(part)}
        if not linear:
            names = [name for name in modules if name][-SHOWN:]
            raise ValueError(
                f"layer={PENULTIMATE!r} is the input of the last linear layer, but the network has "
                f"none: name a layer, the one whose output the last one takes. The last of "
                f"named_modules() are {names}"
            )
        self._widths = {name: part.out_features for name, part in linear.items()}
        self._last_linear = self._learned.last_linear or list(linear)[-1]
        for name, part in linear.items():
            part.register_forward_pre_hook(self._linear_hook(name), with_kwargs=True)

    def _linear_hook(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def take(_module: nn.Module, inputs: Any, named: Any) -> None:
            self._ran = name
            if name != self._last_linear:
                return
            given = inputs[0] if inputs else next(iter(named.values()))
            try:
                self._taken[PENULTIMATE] = self._rows(PENULTIMATE, given, None)
            except ValueError:
                if name == self._learned.last_linear:  # else it may be another that counts
                    raise

        return take

    def _rows(self, layer: str, output: Any, module: nn.Module | None) -> torch.Tensor:
        """Return one row per sample; a copy, since an in-place layer may follow."""
        maps = output if isinstance(output, torch.Tensor) else _first_tensor(layer, output)
        _check_kind(layer, maps)
        if maps.ndim > 2 and self._poolings[layer] != "flatten":
            maps = self._pool(layer, maps, module)
        return maps.reshape(maps.shape[0], -1).to(torch.float32, copy=True)

    def __call__(self, X: Batch) -> list[torch.Tensor]:
        """Return one tensor (n, units), float32, for each layer."""
        taken = self._traced(X)
        if self._runs_to_the_end and self._ran is not None:
            self._warn_of_head(self._ran)
            taken = self._again_if_another_was_last(taken, self._ran, X)
        self._check(taken, len(X))
        return [taken[layer] for layer in self._layers]

    def _warn_of_head(self, ran: str) -> None:
        """Warn, once, where what the last linear layer gives cannot be the logits."""
        gives, wanted = self._widths[ran], self._shape[1:]
        differs = len(wanted) == 1 and wanted[0] not in (gives, 1)  # 1 may be a similarity
        if differs and not self._learned.head_checked:
            warnings.warn(
                f"layer={PENULTIMATE!r} is what goes into {ran!r}, the last linear layer that "
                f"runs, but that gives {gives} numbers and the network {wanted[0]}: where a "
                "product without a layer (a cosine, functional.linear) or another branch makes "
                "the output, name the layer before it",
                UserWarning,
                stacklevel=2,
            )
        self._learned.head_checked = True

    def _again_if_another_was_last(
        self, taken: dict[str, torch.Tensor], ran: str, X: Batch
    ) -> dict[str, torch.Tensor]:
        is_right = ran == self._last_linear and PENULTIMATE in taken
        self._learned.last_linear = self._last_linear = ran
        return taken if is_right else self._run(X)

    def _traced(self, X: Batch) -> dict[str, torch.Tensor]:
        """Run a batch; where layouts are wanted and not known yet, once more, asking for them."""
        with suppress(Untraced):
            return self._run(X)
        self._pool.trace(self.network)
        try:
            return self._run(X)
        finally:
            self._pool.end_trace()

    def _run(self, X: Batch) -> dict[str, torch.Tensor]:
        self._taken, self._ran = {}, None
        self._pool.mask = X.tensors.get("attention_mask") if isinstance(X, Named) else None
        if self._pool.layouts is not None:
            self._pool.layouts.begin(X)
        given = X if self._writes_to_input is False else _copied(X)
        output = None
        with suppress(Finished):
            if isinstance(given, Named):
                output = self.network(**given.tensors)
            else:
                output = self.network(given)
        if self._writes_to_input is None:
            self._writes_to_input = _was_written_to(given, X)
        if self._runs_to_the_end:
            self._shape = getattr(tensor_in(output), "shape", ())
        taken, self._taken = self._taken, {}
        return taken

    @property
    def writes_to_input(self) -> bool:
        """Whether the network writes into the samples it is given, as in-place layers do."""
        return self._writes_to_input is not False

    def _check(self, taken: dict[str, torch.Tensor], n: int) -> None:
        """Check that each layer gave a row per sample."""
        if missing := [layer for layer in self._layers if layer not in taken]:
            raise ValueError(f"the network's forward pass never calls the layers {missing}")
        for layer in self._layers:
            if taken[layer].shape[0] != n:
                raise ValueError(
                    f"layer {layer or OUTPUT!r} gives {len(taken[layer])} rows for {n} samples, "
                    "but its first axis must be the sample: name one after it where that is so, "
                    f"such as {PENULTIMATE!r} or {OUTPUT!r} (recurrent layers take the time first "
                    "unless batch_first=True, and packed sequences have no axis of samples)"
                )


def _copied(X: Batch) -> Batch:
    """Return a batch that the network may write into: the given one may be a view of the user's X.

    A tensor made in inference mode would not count what is written into it.
    """
    with torch.inference_mode(False), torch.no_grad():
        return X.map(torch.Tensor.clone) if isinstance(X, Named) else X.clone()


def _was_written_to(copies: Batch, X: Batch) -> bool:
    """Tell whether copies of a batch were written to: by their counters, or by their values.

    What is written through ``data``, or an array of numpy, or by some fused kernels is not counted.
    """
    pairs = zip(_tensors(copies), _tensors(X), strict=True)
    return any(copy._version or not torch.equal(copy, given) for copy, given in pairs)


def _tensors(X: Batch) -> list[torch.Tensor]:
    return list(X.tensors.values()) if isinstance(X, Named) else [X]


def _check_kind(layer: str, maps: torch.Tensor) -> None:
    if maps.ndim == 0:
        raise ValueError(
            f"layer {layer or OUTPUT!r} gives a number without an axis of samples: it may end in "
            "squeeze(), which drops that of a single sample and squeeze(-1) does not, or in a mean "
            "over all samples. Mend it, or name a layer before that"
        )
    if maps.is_complex():
        raise ValueError(
            f"layer {layer or OUTPUT!r} gives complex numbers, of which half would be dropped: "
            "wrap the network in a module that gives torch.view_as_real of them, or their abs()"
        )


def _first_tensor(layer: str, output: object) -> torch.Tensor:
    activations = tensor_in(output)
    if activations is None:
        raise TypeError(
            f"layer {layer or OUTPUT!r} gives a {type(output).__name__} without a tensor: "
            "name a layer that gives one"
        )
    return activations
