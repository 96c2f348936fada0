"""to_torch: a fitted pipeline or classifier as one torch module."""

from typing import Any

import torch

from sklearn_densconf._array import to_numpy
from sklearn_densconf._validation import check_option
from sklearn_densconf.export._confidence import ConfidenceHead
from sklearn_densconf.export._heads import head_of
from sklearn_densconf.export._network import ConfidenceNetwork
from sklearn_densconf.export._parts import Parts, parts_of
from sklearn_densconf.export._rejection import Rejection
from sklearn_densconf.export._samples import example_for, samples_module
from sklearn_densconf.features._as_module import as_module
from sklearn_densconf.features._parameters import by_layer
from sklearn_densconf.features.inputs import Batch

PRECISIONS = {"float64": torch.float64, "float32": torch.float32}


def to_torch(
    model: Any, *, precision: str = "float64", example: Any = None, preprocessed: bool = False
) -> ConfidenceNetwork | ConfidenceHead:
    """Make one torch module of a fitted pipeline or classifier.

    It is made of the frozen network with the layers that are taken and their pooling, and of the
    classifier, whose numbers are its buffers. It can be given to `torch.export`, `torch.compile`
    and `torch.save`, and moved to another device; ``half()`` and other casts change the network
    and leave the classifier's numbers as they are.

    Parameters
    ----------
    model : Pipeline or classifier
        A fitted pipeline of a `FeatureExtractor` and a `GaussianDensityClassifier`,
        `SoftmaxClassifier` or `OpenSetClassifier`; or such a classifier alone, which makes a
        module that takes features; or a `ConformalRejector` of either.
    precision : {"float64", "float32"}, default="float64"
        In which the classifier is evaluated. float64 is the default since it is right for every
        classifier, and costs little beside a network. float32 is for devices without float64 (Apple
        GPUs, TensorRT) and has the error stated in Notes.
    example : array, Tensor or mapping of arrays, default=None
        A few samples such as will be given to the module, which decide about their shape and type:
        pixels of uint8, say, or flat rows. None: floats of the shape that the network takes.
    preprocessed : bool, default=False
        Whether the module takes what the extractor's ``preprocessing`` gives. Else that must be
        None or a `torch.nn.Module`, which becomes a part of the module.

    Returns
    -------
    torch.nn.Module
        On the CPU, in evaluation mode, with weights of its own. It gives a named tuple: ``label``
        (n,) int64, the number of the label in ``module.classes``; ``probabilities`` (n, k);
        ``known`` (n,) and ``score`` (n,), what ``known_proba`` and ``score_samples`` give, None
        where the classifier has no such method; of a rejector also ``accepted`` (n,) bool, and
        ``reason`` (n,) int64: 0 for what is accepted, 1 for "not sure", 2 for "not known". A sample
        with a NaN or infinite value, pixel or activation, has the label -1, is not accepted, and
        has else NaN.

    Raises
    ------
    TypeError
        If a part cannot be exported: a step that is neither of these, another classifier (such as
        `DensityClassifier`), a preprocessing or criterion that runs Python, a network that cannot
        be copied.
    ValueError
        If ``precision`` is none of these, or the example does not fit the network.

    See Also
    --------
    to_onnx : Writes the module to a file that needs neither torch nor scikit-learn.

    Notes
    -----
    In float32, log p(z | k) + log π_k is off by at most 3 (d + 8) u S_k / (2 T s), up to what all
    classes share, with u = 2⁻²⁴, d features, temperature T, scale s and S_k the sum of the absolute
    values of the terms of the squared distance, of centred features: for ``"diag"``
    ``Σ_j x²_j (P_kj - min_k P_kj) + 2 |x_j P_kj μ_kj| + P_kj μ²_kj``. The errors of
    log-probabilities are at most twice the largest of these. On real features with temperature
    T = d it is about 1e-6; a unit that is constant in one class and lively in others makes it
    useless, since then its P μ² is huge. Points farther than 1e17 / d standard deviations from the
    center are moved there.

    Near a class that lies far from the others the package measures distances a second time, from
    the class's own mean; the module does not. Its probabilities are off by 1e-9 where the class's
    mean lies 1e4 of its standard deviations from the mean of all, by 1e-7 at 1e5, by .1 at 1e8.
    `to_onnx` finds it, on features between the means, and writes no file.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from sklearn_densconf import GaussianDensityClassifier
    >>> from sklearn_densconf.export import to_torch
    >>> classifier = GaussianDensityClassifier().fit([[0.0], [1.0], [4.0], [5.0]], list("aabb"))
    >>> module = to_torch(classifier)
    >>> confidence = module(torch.tensor([[0.5], [3.0], [torch.nan]]))
    >>> confidence.label.tolist(), module.classes
    ([0, 1, -1], ['a', 'b'])
    """
    check_option("precision", precision, PRECISIONS)
    parts = parts_of(model, preprocessed=preprocessed)
    extractor = parts.extractor
    taken = None if extractor is None else example_for(extractor, example)
    return assembled(parts, PRECISIONS[precision], taken, preprocessed=preprocessed)


def assembled(
    parts: Parts, dtype: torch.dtype, example: Batch | None, *, preprocessed: bool
) -> ConfidenceNetwork | ConfidenceHead:
    """Return the module of an extractor and a classifier.

    Parameters
    ----------
    parts : Parts
        The extractor or None, the classifier, and its rejector or None.
    dtype : torch.dtype
        Type in which the classifier is evaluated.
    example : Tensor or Named, or None
        Samples such as it will take.
    preprocessed : bool
        As of `to_torch`.

    Returns
    -------
    ConfidenceNetwork or ConfidenceHead
        The module.
    """
    extractor, classifier, rejector = parts
    classes = to_numpy(classifier.classes_).tolist()
    rejection = None if rejector is None else Rejection(rejector, dtype)
    head = ConfidenceHead(head_of(classifier, dtype), dtype, classes, rejection).eval()
    if extractor is None or example is None:
        return head
    samples = samples_module(extractor, example, preprocessed=preprocessed)
    poolings, axes = by_layer(extractor.pooling, extractor.channel_axis, extractor._layers)
    given = example if not isinstance(example, torch.Tensor) else samples(example)
    layers = as_module(extractor.backbone_, poolings, axes, given)
    return ConfidenceNetwork(samples, layers, head).eval()
