"""From a source of samples to their features: what is remembered is read, the rest computed."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch

from sklearn_densconf._fingerprint import referred, warn_of_changes
from sklearn_densconf._machine import freed_memory_kept
from sklearn_densconf._optional import import_optional
from sklearn_densconf.features._array_cache import CACHE
from sklearn_densconf.features._batches import batches_for
from sklearn_densconf.features._built import BuiltBackbone
from sklearn_densconf.features._device import OutOfMemoryError
from sklearn_densconf.features._forward import Forward, Layered
from sklearn_densconf.features._frozen import FrozenBackbone
from sklearn_densconf.features._known import Unkept, filled, unchanged
from sklearn_densconf.features._layers import OUTPUT
from sklearn_densconf.features._memory import FeatureStore
from sklearn_densconf.features._onnx_engine import ExportedTap, Models
from sklearn_densconf.features._onnx_export import Exporting
from sklearn_densconf.features._pooling import Pooling
from sklearn_densconf.features._replicas import Replica, Replicas, State, Unchanging
from sklearn_densconf.features._rows_apart import warn_if_rows_depend
from sklearn_densconf.features._tap import Tap
from sklearn_densconf.features.inputs import Batch, Named, Source

BLOCK = 16384  # samples looked up in the memory at once
KEEP_EVERY = 30.0  # seconds after which computed features are written
READS = 3  # of a picture that changes each time between its digest and its features

# Values of pictures that a thread of a CPU takes at once: of 224 x 224, 3 or 4 of them. With large
# batches it waits for memory: MobileNetV2 takes 12 ms a picture in batches of 8 and 39 ms in
# batches of 64; ResNet-50 and VGG-16 take as long in either.
VALUES_AT_ONCE = 2**19
_TENSOR_CORES = {("cuda", "float16"), ("cuda", "bfloat16")}

Part = tuple[np.ndarray, np.ndarray]  # indices of samples, their features


@dataclass
class Extraction:
    """One use of a network: which layers of it, how, where, and what is remembered.

    Parameters
    ----------
    backbone : FrozenBackbone
        The network.
    poolings : dict of str to str or callable
        Wanted layers, and how each is pooled.
    channel_axes : dict of str to int
        Axes of channels that the user gave, by layer.
    precision : str
        As in `FeatureExtractor`.
    compile : bool
        As in `FeatureExtractor`.
    device : torch.device
        Where to compute.
    batch_size, num_workers, verbose : int
        As in `FeatureExtractor`.
    store : FeatureStore or None
        The features of earlier uses.
    replicas : Replicas
        Those of earlier uses.
    engine : str
        As in `FeatureExtractor`.
    models : Models
        Exported networks of earlier uses.
    watch : callable or None
        Takes a plan of batches and yields them, to tell callbacks of each.
    preprocessing : callable or None
        The user's, whose code is looked at.
    """

    backbone: FrozenBackbone | BuiltBackbone
    poolings: dict[str, Pooling]
    channel_axes: dict[str, int]
    precision: str
    compile: bool
    device: torch.device
    batch_size: int
    num_workers: int
    verbose: int
    store: FeatureStore | None
    replicas: Replicas
    engine: str
    models: Models
    watch: Callable[[list[np.ndarray]], Iterable[np.ndarray]] | None = None
    preprocessing: Any = None
    _widths: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        # Where it pays: most convolutions are faster so on a CPU, and tensor cores compute so.
        pays = self.device.type == "cpu" or (self.device.type, self.precision) in _TENSOR_CORES
        pays &= self.engine == "torch"
        self._pays_channels_last = pays
        self._channels_last = pays and self.backbone.learned.takes_channels_last
        self._integers = self.backbone.learned.takes_integers

    @cached_property
    def _replica(self) -> Replica:  # nothing is moved to the device where all is remembered
        layers = self.poolings, self.channel_axes
        how = self.engine, self.device, self.compile, self._channels_last
        key = self.backbone, *layers, *how
        return self.replicas.take(key, self._made)

    def _made(self) -> tuple[Layered, State | Unchanging | None]:
        if isinstance(self.backbone, BuiltBackbone) and not self.compile:
            made = self.backbone.tap(self.poolings, self.channel_axes)
            if made is not None:
                return made, Unchanging()
        if self.engine == "onnxruntime":
            folder = None if self.store is None else self.store.for_models
            exporting = Exporting(self.backbone, self.poolings, self.channel_axes, folder)
            return ExportedTap(exporting, self.models, self._at_once, self.batch_size), Unchanging()
        replica = self.backbone.network(self.device, channels_last=self._channels_last)
        # Replicas have the same code: torch compiles the first one only.
        network: Any = torch.compile(replica) if self.compile else replica
        tap = Tap(network, self.poolings, self.backbone.learned, self.channel_axes)
        is_shared = isinstance(self.backbone, BuiltBackbone)
        return tap, None if is_shared else State(replica)

    @cached_property
    def _forward(self) -> Forward:
        at_once = self._at_once if self.device.type == "cpu" else None
        return Forward(self._replica.tap, self.backbone.dtype, self.precision, at_once)

    @property
    def _at_once(self) -> int:
        # onnxruntime loses less by large batches, and by small ones where others want its cores.
        more = 4 if self.engine == "onnxruntime" else 1
        return more * VALUES_AT_ONCE * torch.get_num_threads()

    def _give_back(self) -> None:
        """Let the next call have the replica; after an error it is not called, and none has it."""
        self.__dict__.pop("_forward", None)
        if "_replica" in self.__dict__:
            self.replicas.give_back(self.__dict__.pop("_replica"))

    def widths(self, source: Source) -> list[int]:
        """Return the number of columns of each layer, from the features of the first sample."""
        first = np.array([0])
        if self.store is None:
            self._check_rows(source, next(self._computed(source, first))[1])
            self._give_back()
            return self._widths
        self._check_rows(source, self._looked_up(self.store, source, first))
        return self.store.widths or self._widths  # without rights, nothing is kept

    def _check_rows(self, source: Source, alone: np.ndarray) -> None:
        """Warn, once a network, if the features of a sample depend on the rest of its batch."""
        if self._widths and not self.backbone.learned.rows_checked:
            self.backbone.learned.rows_checked = True
            sample = self._as_taken(source.batch(np.array([0])).to(self.device))
            is_rounded = self.precision != "float32" or self.backbone.dtype.itemsize < 4
            warn_if_rows_depend(self._forward, sample, alone, 0.1 if is_rounded else 1e-3)

    def features(self, source: Source, width: int) -> np.ndarray:
        """Return the features of all samples, float32 of shape (n_samples, width)."""
        n_samples = len(source)
        out = np.empty((n_samples, width), np.float32)
        start = 0
        for part in self._parts(source, n_samples):
            if part.shape[1] != width:
                raise ValueError(
                    f"the network gives {part.shape[1]} features, {width} at fit: with "
                    "pooling='flatten' samples must have one length"
                )
            if len(part) == n_samples:
                out = part
                break
            out[start : start + len(part)] = part
            start += len(part)
        self._give_back()
        return out

    def batches(self, source: Source) -> Iterator[np.ndarray]:
        """Yield the features of all samples, batch by batch."""
        for part in self._parts(source, len(source)):
            for start in range(0, len(part), self.batch_size):
                yield part[start : start + self.batch_size]
        self._give_back()

    def _parts(self, source: Source, n_samples: int) -> Iterator[np.ndarray]:
        """Yield features in the order of the samples, in parts of any size."""
        everything = np.arange(n_samples)
        if self.store is None:
            yield from (features for _, features in self._computed(source, everything))
            return
        step = max(BLOCK // self.batch_size, 1) * self.batch_size
        for start in range(0, n_samples, step):
            yield self._known(self.store, source, everything[start : start + step])

    def _known(self, store: FeatureStore, source: Source, block: np.ndarray) -> np.ndarray:
        """Return the features of a block; what is not kept yet is computed and kept."""
        content = source.content(block)
        if content is None:
            return self._looked_up(store, source, block)
        layout, values = content
        features = CACHE.find((store.place, layout), values)
        if features is None:
            features = self._looked_up(store, source, block)  # which may have made the folder
            CACHE.keep((store.place, layout), values, features)
        return features

    def _looked_up(self, store: FeatureStore, source: Source, block: np.ndarray) -> np.ndarray:
        for _ in range(READS):
            digests = source.digests(block)
            numbers = store.find(digests)
            missing = np.flatnonzero(numbers < 0)
            if not len(missing):
                return store.read(numbers)
            digest_of = {int(block[row]): digests[row] for row in missing}
            unkept = self._remember(store, source, digest_of)
            numbers = store.find(digests)
            changed = [row for row in missing if numbers[row] < 0 and digests[row] not in unkept]
            if not (changed and source.on_disk):
                return filled(store, numbers, digests, unkept)
        raise RuntimeError(
            f"{source.name(int(block[changed[0]]))} changed each of {READS} times while it was "
            "read: wait until it is written"
        )

    def _remember(self, store: FeatureStore, source: Source, digest_of: dict[int, bytes]) -> Unkept:
        """Compute and keep features that are not kept yet, each picture once.

        Returns those that could not be kept.
        """
        learned, code = self.backbone.learned, (self.backbone.code, self.preprocessing)
        if learned.code_checked:
            return self._compute_and_keep(store, source, digest_of)
        before = referred(*code)
        unkept = self._compute_and_keep(store, source, digest_of)
        learned.code_checked = len(digest_of) > 1  # the first sample of `fit` was read before
        warn_of_changes(before, *code)
        return unkept

    def _compute_and_keep(
        self, store: FeatureStore, source: Source, digest_of: dict[int, bytes]
    ) -> Unkept:
        chosen = sorted({digest: index for index, digest in digest_of.items()}.values())
        computed: list[Part] = []
        unkept: Unkept = {}
        due = time.monotonic() + KEEP_EVERY
        try:
            for part in self._computed(source, np.array(chosen, np.intp)):
                computed.append(part)
                if time.monotonic() > due:
                    unkept |= self._keep(store, source, computed, digest_of)
                    due = time.monotonic() + KEEP_EVERY
        finally:  # what an interrupted run has computed is kept
            unkept |= self._keep(store, source, computed, digest_of)
        return unkept

    def _keep(
        self,
        store: FeatureStore,
        source: Source,
        computed: list[Part],
        digest_of: dict[int, bytes],
    ) -> Unkept:
        """Keep what was computed, but not of files that changed; return what could not be kept."""
        if not computed:
            return {}
        indices, parts = map(np.concatenate, zip(*computed, strict=True))
        computed.clear()
        digests = [digest_of[int(index)] for index in indices]
        rows = unchanged(source, indices, digests)
        if not rows:
            return {}
        digests, features = [digests[row] for row in rows], parts[rows]
        kept = store.add(digests, features, self._widths)
        return {} if kept else dict(zip(digests, features, strict=True))

    def _computed(self, source: Source, indices: np.ndarray) -> Iterator[Part]:
        """Run samples through the network; the features of a batch are fetched during the next."""
        source.check(indices)
        plan = [indices[i : i + self.batch_size] for i in range(0, len(indices), self.batch_size)]
        batches = batches_for(self.device, source, plan, self.num_workers)
        running: tuple[np.ndarray, torch.Tensor] | None = None
        with freed_memory_kept() if self.device.type == "cpu" else nullcontext():
            for part, batch in zip(self._with_progress(plan), batches, strict=True):
                next_one = part, self._passed(source, batch)
                if running is not None:
                    yield self._fetched(source, *running)
                running = next_one
            if running is not None:
                yield self._fetched(source, *running)

    def _passed(self, source: Source, batch: Batch) -> torch.Tensor:
        batch = batch.to(self.device)
        if self._widths:
            return self._forward(self._as_taken(batch))
        return self._first_passed(source, batch)

    def _first_passed(self, source: Source, batch: Batch) -> torch.Tensor:
        """Run the first batch; what the network refuses is tried in other ways."""
        refusal: RuntimeError | None = None
        for channels_last in (True, False) if self._channels_last else (False,):
            self._lay_channels(last=channels_last)
            for integers in (True, False) if self._has_integers(batch) else (False,):
                self._integers = integers
                try:
                    features = self._forward(self._as_taken(batch))
                except OutOfMemoryError:
                    raise
                except TypeError as error:
                    raise _of_names(batch, error) from error
                except RuntimeError as error:
                    refusal = refusal or error
                else:
                    self._learn(batch)
                    return features
        cure = (  # else the network is not made for such samples
            "Its forward pass takes gradients, which are not computed here: pass a part without"
            if "does not require grad" in str(refusal)
            else "Check input_shape, preprocessing (from one picture to a tensor (c, h, w)) and "
            "the number of channels"
        )
        raise ValueError(
            f"the network refuses samples of shape {source.shape}: {refusal}. {cure}"
        ) from refusal

    def _has_integers(self, batch: Batch) -> bool:
        return not batch.is_floating_point() and self.backbone.learned.takes_integers

    def _lay_channels(self, *, last: bool) -> None:
        """Lay out the network's weights; one that calls `view` on its maps wants channels first."""
        if self._channels_last != last:
            self._channels_last = last
            self.__dict__.pop("_forward", None)
            self.__dict__.pop("_replica", None)

    def _learn(self, batch: Batch) -> None:
        learned = self.backbone.learned
        if self._pays_channels_last and not self._channels_last:
            learned.takes_channels_last = False
        if not batch.is_floating_point():
            learned.takes_integers = self._integers

    def _as_taken(self, batch: Batch) -> Batch:
        """Return a batch in the types and the layout that the network takes."""
        if not self._integers:
            batch = batch.to(self.backbone.input_dtype)
        one_last = self._channels_last and self.device.type == "cpu"
        if one_last and isinstance(batch, torch.Tensor):
            return _with_channel_last(batch)
        return batch

    def _fetched(self, source: Source, part: np.ndarray, features: torch.Tensor) -> Part:
        self._widths = self._forward.widths
        on_host = features.cpu().numpy()
        if not np.isfinite(on_host).all():
            row, column = np.argwhere(~np.isfinite(on_host))[0]
            number = np.searchsorted(np.cumsum(self._widths), column, side="right")
            layer = list(self.poolings)[number]
            raise ValueError(
                f"{source.name(int(part[row]))} has NaN or infinite activations in layer "
                f"{layer or OUTPUT!r}: check the network's weights and its input"
            )
        return part, on_host

    def _with_progress(self, plan: list[np.ndarray]) -> Iterable[np.ndarray]:
        if self.watch is not None:
            return self.watch(plan)
        if not (self.verbose and len(plan) > 1):
            return plan
        tqdm = import_optional("tqdm.auto", "verbose > 0")
        return tqdm.tqdm(plan, desc="Features", unit="batch")


def _of_names(batch: Batch, error: TypeError) -> Exception:
    """Return the error to raise where a network may not take inputs of such names."""
    if not isinstance(batch, Named) or "argument" not in str(error):
        return error
    return ValueError(
        f"the network refuses inputs called {list(batch.tensors)}: {error}. Name the arrays as the "
        "parameters of its forward, or give one array of all columns"
    )


def _with_channel_last(batch: torch.Tensor) -> torch.Tensor:
    """Say of a single channel, which is first and last at once, that it is last.

    torch goes by the strides, and with the channel first LeNet-5 takes nearly twice the time.
    """
    if batch.ndim != 4 or batch.shape[1] != 1 or not batch.is_contiguous():
        return batch
    return batch.as_strided(batch.shape, (batch[0].numel(), 1, batch.shape[3], 1))
