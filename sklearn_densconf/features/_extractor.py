"""FeatureExtractor: activations of a network, as a scikit-learn transformer."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted
from torch import nn

from sklearn_densconf._callbacks import (
    CallbackSupportMixin,
    begin_fit,
    end_fit,
    told_batches,
    with_callbacks,
)
from sklearn_densconf.features._backbones import as_frozen, floats_of, resolve, wanted_layers
from sklearn_densconf.features._device import choose_device
from sklearn_densconf.features._extraction import Extraction
from sklearn_densconf.features._frozen import FrozenBackbone
from sklearn_densconf.features._layers import OUTPUT
from sklearn_densconf.features._memory import FeatureStore, key_of, open_store
from sklearn_densconf.features._onnx_engine import Models
from sklearn_densconf.features._parameters import check_parameters, defaults_of, layers_of
from sklearn_densconf.features._replicas import Replicas
from sklearn_densconf.features._state import NEW, for_pickles, for_skops, restored
from sklearn_densconf.features.inputs import Preprocessing, Reading, Source, open_source


class FeatureExtractor(CallbackSupportMixin, TransformerMixin, BaseEstimator):
    """Activations of one or more layers of a torch network.

    z = layer(preprocessing(picture)), in evaluation and inference mode, pooled to one row a
    picture. By default z are the network's outputs: the activations before softmax, which
    `GaussianDensityClassifier` turns into a density confidence.

    Parameters
    ----------
    backbone : torch.nn.Module, FrozenBackbone, skorch.NeuralNet or str
        The network. A module is copied in ``fit`` and left as it was found; clones and pickles of
        the extractor hold the copy (`FrozenBackbone`). A skorch net is cloned and trained by
        ``fit(X, y)``. A string is "torchvision:NAME" or "timm:NAME" (weights and, for pictures,
        preprocessing of that library; after the name "?weights=FILE" takes a saved state_dict, and
        "?weights=none" random weights),
        "onnx:FILE" (run by onnxruntime), or "package.module:function", called without arguments to
        build the module: in ``fit``, once in a process. That is the way for TorchScript and for
        modules that hold locks or sessions, of which only the output can be taken.
    layer : str, None or list of them, default=None
        Dotted name of the layer, as in ``network.named_modules()``; in an ONNX file name of a node
        or tensor. None and "output" are the network's output, "penultimate" is the input of the
        last linear layer that runs. A list takes several layers in one pass, which stops after the
        last one. Of a layer that is called several times in one pass the first call counts; of one
        that gives several tensors those called "logits", else the first.
    pooling : {"avg", "max", "cls", "flatten"}, callable or mapping, default="avg"
        What makes rows of maps and tokens: their mean or maximum over all axes but that of the
        channels (tokens that an ``attention_mask`` of the same length leaves out do not count), the
        first token, or all values; or a function from activations (n, ...) to rows (n, d). A
        mapping gives one to each layer, "avg" to those it leaves out.
    channel_axis : int or mapping, default=None
        Axis of the channels in maps and tokens; a mapping gives it for some layers. None: known
        from the modules that made them. Where these do not tell, it is asked for.
    preprocessing : callable, default=None
        From one picture to a float tensor (c, h, w). It gets a PIL image for paths, for PIL images
        and for uint8 arrays of shape (h, w) or (h, w, 3), and a tensor for anything else; of
        mappings one sample, as it is. Of texts it gets a list, and makes tensors by name: a
        tokenizer. None: a library backbone's own for paths, PIL images and uint8 arrays; else
        these become floats in [0, 1], channels first. Rows (n, d) of uint8 are pictures with an
        ``input_shape`` (c, h, w) only. All other numbers are passed as they are.
    input_shape : tuple of int, default=None
        Shape (c, h, w) of a sample, to which flat rows are brought. Without preprocessing it also
        says whether pictures are read in grey (c = 1) or in colour (c = 3).
    exif_transpose : bool, default=False
        Whether pictures are turned as their EXIF data say; torchvision and timm do not. In any
        case, without a preprocessing of yours what is transparent lies on white ground, and
        pictures of more than 8 bits are refused, since nobody knows which value is white.
    batch_size : int, default=256
        Pictures in one forward pass; halved where the device's memory does not suffice.
    device : str, default="auto"
        Where to compute, chosen when used: "auto" takes CUDA, MPS or the CPU, the first there is.
    engine : {"torch", "onnxruntime"}, default="torch"
        What runs the network. "onnxruntime" (extra "onnx", torch 2.9 or newer, on the CPU) takes a
        half or a third of torch's time. The network is exported once, compared with torch to 1e-4,
        and kept, in ``memory`` and in pickles. ONNX files are run by it in any case.
    precision : {"float32", "bfloat16", "float16"}, default="float32"
        Other than "float32" computes under autocast. Features are float32 in any case, of a network
        of float64 the results of a computation in float64.
    compile : bool, default=False
        Whether `torch.compile` makes code for the network and this machine, once a process and
        shape of a batch: from seconds to minutes, worth it for many pictures. For ``layer=None``.
    num_workers : int, default=0
        Processes that read and preprocess pictures; 0 does it in a thread beside the network.
    memory : path or joblib.Memory, default=None
        Folder that keeps the features of every picture, by content, so that a frozen network sees
        each picture once, whatever the fold, the candidate or the process. The key has the
        network's weights, structure and code, ``layer``, ``pooling``, ``preprocessing``,
        ``precision`` and the shape of a sample; not what code reads elsewhere as it runs, such as
        environment variables and files. Nothing is ever deleted; what is damaged is set aside with
        a warning, and a folder that cannot be written costs only what would be kept.
    memory_key : {"file", "content"}, default="file"
        When a picture file is read to be known again by a hash of its bytes: once in a process,
        and again where path, inode, size or times have changed; or, with "content", in every call,
        for disks whose times tell nothing. Then `distributed.predict`, too, compares their bytes.
    verbose : int, default=0
        1 shows the progress of long work (needs tqdm). From scikit-learn 1.9 on, callbacks show
        that of ``fit_transform``: ``set_callbacks(ProgressBar())`` on the extractor, or on the
        pipeline or search around it.

    Attributes
    ----------
    backbone_ : FrozenBackbone
        The network; ``backbone_.network()`` gives a module.
    feature_groups_ : dict of str to slice
        Columns of each layer; the network's output is called "output".
    input_shape_ : tuple of int
        Shape of one sample as the network sees it.
    n_features_in_ : int
        Number of columns of X; only where X has two axes.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns of X; only where all are strings.

    See Also
    --------
    FrozenBackbone : The immutable copy of the network.
    sklearn_densconf.GaussianDensityClassifier : Makes a confidence of the features.

    Notes
    -----
    A feature of a picture depends on the other pictures of its batch by about 1e-6 of its size,
    because torch sums in another order. Features from ``memory`` are those of the first run.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from sklearn_densconf import FeatureExtractor
    >>> network = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> X = np.random.default_rng(0).normal(size=(5, 3))
    >>> extractor = FeatureExtractor(network, layer=["1", None]).fit(X)
    >>> extractor.transform(X).shape
    (5, 10)
    >>> extractor.feature_groups_
    {'1': slice(0, 8, None), 'output': slice(8, 10, None)}
    """

    def __init__(
        self,
        backbone: Any,
        *,
        layer: str | Sequence[str | None] | None = None,
        pooling: Any = "avg",
        channel_axis: int | Mapping[str | None, int] | None = None,
        preprocessing: Preprocessing | None = None,
        input_shape: tuple[int, ...] | None = None,
        exif_transpose: bool = False,
        batch_size: int = 256,
        device: str = "auto",
        engine: str = "torch",
        precision: str = "float32",
        compile: bool = False,  # noqa: A002 - the word of torch and skorch
        num_workers: int = 0,
        memory: Any = None,
        memory_key: str = "file",
        verbose: int = 0,
    ) -> None:
        self.backbone = backbone
        self.layer = layer
        self.pooling = pooling
        self.channel_axis = channel_axis
        self.preprocessing = preprocessing
        self.input_shape = input_shape
        self.exif_transpose = exif_transpose
        self.batch_size = batch_size
        self.device = device
        self.engine = engine
        self.precision = precision
        self.compile = compile
        self.num_workers = num_workers
        self.memory = memory
        self.memory_key = memory_key
        self.verbose = verbose

    @with_callbacks
    def fit(self, X: Any, y: Any = None) -> Self:
        """Take hold of the network, and learn the shapes from one sample.

        Parameters
        ----------
        X : array, tensor, sequence of pictures, texts or mappings, mapping, Dataset or DataLoader
            The samples: an array, tensor or table of shape (n_samples, ...); a sequence or column
            of paths, PIL images, files' contents, tensors or arrays, or, with a tokenizer as
            ``preprocessing``, of texts; a mapping of arrays by the names of the network's inputs,
            or a sequence of such mappings, one per sample; a Dataset of torch, or of the library
            datasets, of any of these, with or without labels; or a DataLoader, of which the
            samples, in their order, and ``collate_fn`` are used, one by one where it pads. Of a
            frozen network only the first sample is used.
        y : array-like of shape (n_samples,), default=None
            Labels; a skorch net is trained with them, others ignore them.

        Returns
        -------
        FeatureExtractor
            The fitted extractor.

        Raises
        ------
        ValueError
            If a parameter, a layer, a device, the shape of a sample or its values are wrong, or a
            picture cannot be decoded.
        TypeError
            If the backbone is no network, or one that cannot be held.
        ImportError
            If a library that the backbone or the pictures need is missing.
        """
        context = begin_fit(self)
        self._fit(X, y)
        end_fit(self, context)
        return self

    @with_callbacks
    def fit_transform(self, X: Any, y: Any = None) -> np.ndarray:
        """Fit, and give the features of the same samples.

        Parameters
        ----------
        X : array, tensor, sequence of pictures, texts or mappings, mapping, Dataset or DataLoader
            As in `fit`.
        y : array-like of shape (n_samples,), default=None
            As in `fit`.

        Returns
        -------
        ndarray of shape (n_samples, n_features), float32
            The features.
        """
        context = begin_fit(self, max_subtasks=None)
        source, extraction = self._fit(X, y)
        if context is not None and hasattr(self, "_skl_callbacks"):
            extraction.watch = partial(told_batches, self, context)
        features = extraction.features(source, self._n_features_out)
        end_fit(self, context)
        return features

    def transform(self, X: Any) -> np.ndarray:
        """Return the features of samples.

        Parameters
        ----------
        X : array, tensor, sequence of pictures, texts or mappings, mapping, Dataset or DataLoader
            As in `fit`.

        Returns
        -------
        ndarray of shape (n_samples, n_features), float32
            The features.

        Raises
        ------
        ValueError
            If a sample has another shape than those of `fit`, cannot be decoded, or has NaN or
            infinite values or activations.
        """
        source, width = self._prepared(X), self._n_features_out
        return self._extraction().features(source, width)

    def iter_transform(self, X: Any) -> Iterator[np.ndarray]:
        """Yield the features batch by batch: memory for one batch, whatever the length of X.

        Parameters
        ----------
        X : array, tensor, sequence of pictures, texts or mappings, mapping, Dataset or DataLoader
            As in `fit`.

        Yields
        ------
        ndarray of shape (batch_size, n_features), float32
            The features of the next ``batch_size`` samples; of the rest, in the last batch.
        """
        source = self._prepared(X)
        return self._extraction().batches(source)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:  # noqa: ARG002
        """Name the features by layer and unit.

        Parameters
        ----------
        input_features : object, default=None
            Ignored; a network mixes its inputs.

        Returns
        -------
        ndarray of shape (n_features,), object
            Names such as "fc1_12", and "output_3" for the network's output.
        """
        check_is_fitted(self)
        names = [
            f"{layer}_{unit}"
            for layer, columns in self.feature_groups_.items()
            for unit in range(columns.stop - columns.start)
        ]
        return np.array(names, dtype=object)

    @property
    def _n_features_out(self) -> int:
        return max(columns.stop for columns in self.feature_groups_.values())

    def _fit(self, X: Any, y: Any) -> tuple[Source, Extraction]:
        check_parameters(self)
        for learned in ("n_features_in_", "feature_names_in_", "_largest"):  # of an earlier fit
            self.__dict__.pop(learned, None)
        choose_device(self.device)
        self._replicas, self._models = Replicas(), Models()
        network, self._preprocessing_of_library = resolve(self.backbone)
        self._layers = wanted_layers(network, self.layer)
        if self.compile and self._layers != [""]:
            raise ValueError(
                f"compile=True gives the network's output only, but layer={self.layer!r}: set "
                "layer=None, or compile=False"
            )
        source = open_source(self, X, self._reading(None, floats_of(network)))
        self.input_shape_ = source.shape
        self.backbone_ = as_frozen(network, source, y)
        extraction = self._extraction()
        # What is compiled for a batch of one is of no use again; a replica of the network is.
        one_by_one = replace(extraction, compile=False) if self.compile else extraction
        widths = one_by_one.widths(source)
        ends = np.cumsum([0, *widths]).tolist()
        self.feature_groups_ = {
            layer or OUTPUT: slice(start, end)
            for layer, start, end in zip(self._layers, ends[:-1], ends[1:], strict=True)
        }
        return source, extraction

    def _prepared(self, X: Any) -> Source:
        if "backbone_" not in vars(self):  # of a fitted one each call would ask for its tags
            check_is_fitted(self)
        return open_source(self, X, self._reading(self.input_shape_, self.backbone_.input_dtype))

    def _reading(self, learned_shape: tuple[int, ...] | None, floats: Any) -> Reading:
        shape = None if self.input_shape is None else tuple(self.input_shape)
        preprocessing = self.preprocessing, self._preprocessing_of_library
        turned, by_content = self.exif_transpose, self.memory_key == "content"
        return Reading(*preprocessing, shape, learned_shape, turned, floats, by_content)

    def _extraction(self) -> Extraction:
        return Extraction(
            self.backbone_,
            *layers_of(self, self._layers),
            self.precision,
            self.compile,
            choose_device("cpu" if self.engine == "onnxruntime" else self.device),
            self.batch_size,
            self.num_workers,
            self.verbose,
            self._store(),
            self._replicas,
            self.engine,
            self._models,
            preprocessing=self.preprocessing,
        )

    def _store(self) -> FeatureStore | None:
        folder = getattr(self.memory, "location", self.memory)
        if folder is None:  # also joblib.Memory(None), which keeps nothing
            return None
        preprocessing = self.preprocessing or self._preprocessing_of_library
        layers = layers_of(self, self._layers)
        how = self.precision, *(("turned",) if self.exif_transpose else ())
        network = self.backbone_.fingerprint
        return open_store(folder, key_of(network, preprocessing, layers, how, self.input_shape_))

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take a pickled state; parameters that are newer than it have their defaults."""
        super().__setstate__(defaults_of(type(self)) | {"_models": Models()} | restored(state))
        self._replicas = Replicas()  # pickles and copies have none

    def __reduce__(self) -> tuple[Any, ...]:
        return NEW, (type(self),), for_pickles(super().__getstate__())

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for skops, which takes no notice of ``__reduce__``."""
        return for_skops(for_pickles(super().__getstate__()))

    def __sklearn_clone__(self) -> Self:
        """Clone without copying the network: clones share its immutable copy."""
        if not isinstance(self.backbone, nn.Module):
            return super().__sklearn_clone__()
        frozen = object.__new__(type(self))
        frozen.__dict__.update(vars(self), backbone=FrozenBackbone(self.backbone))
        return super(FeatureExtractor, frozen).__sklearn_clone__()

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        # All but a skorch net is taken as it is: a network, or what names one.
        is_frozen = isinstance(self.backbone, (nn.Module, FrozenBackbone, str))
        tags.target_tags.required = not is_frozen
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags
