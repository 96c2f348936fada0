"""Replicas kept between calls, as long as every call finds them as they were made.

To make a replica takes a third of the time of a small network's pass. A forward pass may change its
replica, though: it may write to a buffer, set an attribute, append to a list. So a call has a
replica to itself, and gives it back afterwards. Buffers are then filled again from what they were;
a replica whose attributes have changed, or hold what cannot be watched, is not kept.
"""

import functools
import operator
import re
import weakref
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from enum import Enum
from itertools import chain
from pathlib import PurePath
from types import BuiltinFunctionType, EllipsisType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import fx, nn

from sklearn_densconf.features._frozen import renormed

MOST = 64  # kept replicas of one extractor: as many threads find one

_CONTAINERS = (list, set, deque)
_CONSTANTS = (
    *(type(None), bool, int, float, complex, str, bytes, range, slice, EllipsisType),
    *(type, ModuleType, FunctionType, BuiltinFunctionType, weakref.ref, re.Pattern),
    *(torch.dtype, torch.device, torch.layout, torch.memory_format, np.dtype, np.generic),
    *(Enum, PurePath, fx.Graph),
)


class State:
    """What a forward pass could change in a replica, and what it was.

    Parameters
    ----------
    network : torch.nn.Module
        The replica. Its parameters are shared with others, and so not looked at, apart from the
        weights of embeddings with ``max_norm``, which a replica has to itself.
    """

    def __init__(self, network: nn.Module) -> None:
        found = list(_parts(network))
        self._dicts = [part for part in found if isinstance(part, dict)]
        self._others = [part for part in found if isinstance(part, _CONTAINERS)]
        self._is_watchable = not any(part is _OPAQUE for part in found)
        self._values = list(self._now()) if self._is_watchable else []
        own_weights = {id(part.weight) for part in renormed(network)}
        self._tensors = [
            _kept(part)
            for part in found
            if isinstance(part, torch.Tensor)
            and (not isinstance(part, nn.Parameter) or id(part) in own_weights)
        ]

    def _now(self) -> Iterator[Any]:
        """Yield all values; a container that was put into another is another value there."""
        dicts = chain.from_iterable(part.values() for part in self._dicts)
        return chain(dicts, chain.from_iterable(self._others))

    def restored(self) -> bool:
        """Fill buffers as they were; tell whether the replica is then as it was made."""
        if not self._is_watchable or not self._is_unchanged():
            return False
        with torch.no_grad():
            for _, place, values in self._tensors:
                place.copy_(values)
        return True

    def _is_unchanged(self) -> bool:
        values = list(self._now())
        return (
            len(values) == len(self._values)
            and all(map(operator.is_, values, self._values))
            and all(tensor.is_set_to(place) for tensor, place, _ in self._tensors)
        )


class _Kept(NamedTuple):
    """A tensor of a replica, where it was in memory, and its values."""

    tensor: torch.Tensor
    place: torch.Tensor
    values: torch.Tensor


@torch.inference_mode(False)  # else it could be written to in no other mode
def _kept(tensor: torch.Tensor) -> _Kept:
    return _Kept(tensor, tensor.detach(), tensor.detach().clone())


_OPAQUE = object()


def _parts(network: nn.Module) -> Iterator[Any]:
    """Yield every container and tensor that a replica holds, and `_OPAQUE` for what hides some."""
    seen: dict[int, Any] = {}  # the objects are kept alive, so that no id is given again
    waiting: list[Any] = [network]
    while waiting:
        value = waiting.pop()
        if isinstance(value, _CONSTANTS) or id(value) in seen:
            continue
        seen[id(value)] = value
        if isinstance(value, (torch.Tensor, dict, *_CONTAINERS)):
            yield value
        if (inside := _inside(value)) is None:
            yield _OPAQUE
            return
        waiting.extend(inside)


def _inside(value: Any) -> Iterable[Any] | None:
    """Return what an object holds, its attributes as one dictionary; None if it does not tell."""
    if isinstance(value, torch.Tensor):
        return () if _can_be_filled(value) else None
    if isinstance(value, MethodType):
        return (value.__self__,)
    if isinstance(value, functools.partial):
        return (value.func, value.args, value.keywords)
    attributes = [vars(value)] if hasattr(value, "__dict__") else []
    if isinstance(value, (dict, *_CONTAINERS, tuple, frozenset)):
        return [*(value.values() if isinstance(value, dict) else value), *attributes]
    return attributes if attributes and _is_written_in_python(type(value)) else None


def _can_be_filled(tensor: torch.Tensor) -> bool:
    """Tell whether a tensor is a plain one, each value at a place of its own."""
    if type(tensor) not in (torch.Tensor, nn.Parameter) or tensor.layout != torch.strided:
        return False
    is_repeated = any(
        n > 1 and step == 0 for n, step in zip(tensor.shape, tensor.stride(), strict=True)
    )
    return not (is_repeated or tensor.is_meta or tensor.is_inference())


def _is_written_in_python(kind: type) -> bool:
    """Tell whether all state of a class's objects is in their attributes."""
    made_by = (getattr(base.__new__, "__self__", object) for base in kind.__mro__)
    has_slots = any(vars(base).get("__slots__") for base in kind.__mro__)
    return all(maker is object for maker in made_by) and not has_slots


class Unchanging:
    """State of what no pass can change."""

    def restored(self) -> bool:
        """Tell that it is as it was made."""
        return True


class Replica(NamedTuple):
    """A replica in use: what it is for, itself, and what it was when it was made."""

    key: Hashable
    tap: Any
    state: State | Unchanging | None


class Replicas:
    """The replicas of one fitted extractor that nobody uses at the moment."""

    def __init__(self) -> None:
        self._free: deque[Replica] = deque(maxlen=MOST)

    def take(self, key: Any, make: Callable[[], tuple[Any, State | Unchanging | None]]) -> Replica:
        """Return a replica for the caller alone; one that was kept for another use is let go.

        Parameters
        ----------
        key : object
            The network and all settings; equal for uses that can share a replica.
        make : callable
            Makes a replica, and its state; None for one that shall not be kept.

        Returns
        -------
        Replica
            It is as it was made.
        """
        while self._free:
            try:
                kept = self._free.pop()
            except IndexError:  # another thread was first
                break
            if kept.key == key:
                return kept
        return Replica(key, *make())

    def give_back(self, replica: Replica) -> None:
        """Keep a replica for the next call, unless the last one has left traces."""
        if replica.state is not None and replica.state.restored():
            self._free.append(replica)
