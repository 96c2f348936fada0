"""Whether an exported file gives the numbers of the model that it was made of."""

from typing import Any

import numpy as np
import torch
from torch import nn

from sklearn_densconf._array import to_numpy
from sklearn_densconf._optional import import_optional
from sklearn_densconf.density import SoftmaxClassifier
from sklearn_densconf.export._confidence import UNKNOWN
from sklearn_densconf.export._network import ConfidenceNetwork
from sklearn_densconf.export._parts import Parts
from sklearn_densconf.export._rejection import REASONS
from sklearn_densconf.export._samples import without_preprocessing
from sklearn_densconf.features import FeatureExtractor
from sklearn_densconf.features.inputs import Batch, Named

N_FEATURES = 16  # rows on which a classifier alone is checked
ROUNDING = 1e-5  # of a network's features, of the largest in a row: another engine sums otherwise
TOLERANCE = {"float64": 1e-9, "float32": 1e-4}  # of probabilities, on equal features
OF_NETWORK = 1e-4  # and on those of two engines
METHODS = {"probabilities": "predict_proba", "known": "known_proba", "score": "score_samples"}


def check_file(
    content: bytes, parts: Parts, module: nn.Module, example: Batch, precision: str
) -> None:
    """Check that onnxruntime computes from a file what a fitted model gives.

    Parameters
    ----------
    content : bytes
        The file's.
    parts : Parts
        The extractor or None, the classifier, and its rejector or None.
    module : torch.nn.Module
        What was exported.
    example : Tensor or Named
        Samples such as it takes.
    precision : str
        Of the classifier.

    Raises
    ------
    ValueError
        If the network gives other numbers for the same samples a second time.
    RuntimeError
        If the numbers differ.
    """
    runtime = import_optional("onnxruntime", "export.to_onnx with check=True")
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    extractor, classifier, rejector = parts
    if extractor is None:
        assert isinstance(example, torch.Tensor)  # features alone are one tensor
        dtype = example.numpy().dtype
        given: Any = _features_between_classes(classifier).astype(dtype)
        features, tolerance = given.astype(np.float64), TOLERANCE[precision]
        rounding = features.shape[1] * np.finfo(np.float64).eps  # sums in another order
        inputs = {"features": given}
    else:
        assert isinstance(module, ConfidenceNetwork)
        features = _features(extractor, module, example)
        rounding, tolerance = ROUNDING, OF_NETWORK
        inputs = _inputs(example)
    found = _outputs(session, inputs)
    _compare(found, classifier, features, rounding, tolerance)
    if rejector is not None:
        _compare_decisions(found, rejector, features, tolerance)
    _check_one_alone(session, inputs, found, tolerance)
    _check_not_finite(session, inputs)


def _features_between_classes(classifier: Any) -> np.ndarray:
    """Return features on lines between class means; logits, and all else, are of a normal law."""
    generator = np.random.default_rng(0)
    features = generator.normal(size=(N_FEATURES, classifier.n_features_in_))
    if isinstance(classifier, SoftmaxClassifier):
        return features
    density = getattr(classifier, "density_", classifier)
    means = to_numpy(density.means_)
    ends = generator.integers(0, len(means), (2, N_FEATURES))
    share = generator.random((N_FEATURES, 1))
    features[:, : means.shape[1]] = means[ends[0]] * share + means[ends[1]] * (1 - share)
    return features


def _features(extractor: FeatureExtractor, module: ConfidenceNetwork, example: Batch) -> np.ndarray:
    """Return the features that the package gives, twice to see that they are the same."""
    bare = without_preprocessing(extractor)
    if isinstance(example, Named):
        X: Any = {name: tensor.numpy() for name, tensor in example.tensors.items()}
    else:
        with torch.no_grad():
            X = module.samples(example)
    first, second = bare.transform(X), bare.transform(X)
    if not np.allclose(first, second, rtol=1e-3, atol=1e-3 * np.abs(first).max()):
        raise ValueError(
            "the network gives other features for the same samples a second time, which a file "
            "cannot keep: let it draw nothing in evaluation mode (dropout with training=True, say)"
        )
    return first.astype(np.float64)


def _inputs(example: Batch) -> dict[str, np.ndarray]:
    tensors = example.tensors if isinstance(example, Named) else {"samples": example}
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def _outputs(session: Any, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def _compare(
    found: dict[str, np.ndarray],
    classifier: Any,
    features: np.ndarray,
    rounding: float,
    tolerance: float,
) -> None:
    """Compare with the classifier's methods; as much as rounding of features moves them is due."""
    scale = rounding * np.abs(features).max(axis=1, keepdims=True)
    moved = features + scale * np.random.default_rng(0).normal(size=features.shape)
    for name in found.keys() & METHODS.keys():
        method = getattr(classifier, METHODS[name])
        wanted = to_numpy(method(features))
        size = np.maximum(1.0, np.abs(wanted))
        allowed = tolerance * size + 10 * np.abs(to_numpy(method(moved)) - wanted)
        excess = np.abs(found[name] - wanted) - allowed
        if not (excess <= 0).all():
            raise RuntimeError(
                f"the exported file gives other {name} than {METHODS[name]}: they differ by up to "
                f"{np.abs(found[name] - wanted).max():.2g}. {_CURE}"
            )
    labels = to_numpy(classifier.classes_)[found["label"]]
    wanted = to_numpy(classifier.predict(features))
    is_sure = wanted == to_numpy(classifier.predict(moved))
    margin = np.sort(found["probabilities"], axis=1)[:, -2:]
    is_sure &= (margin[:, -1] - margin[:, 0]) > tolerance
    if (labels != wanted)[is_sure].any():
        raise RuntimeError(f"the exported file gives other labels than predict. {_CURE}")


def _compare_decisions(
    found: dict[str, np.ndarray], rejector: Any, features: np.ndarray, tolerance: float
) -> None:
    """Compare what is accepted, but for samples near a threshold."""
    scale = 10 * tolerance * np.abs(features).max(axis=1, keepdims=True)
    moves = [0.0, *np.random.default_rng(0).normal(size=(4, *features.shape))]
    _, *decisions = zip(*(rejector.decide(features + scale * move) for move in moves), strict=True)
    codes = [REASONS.index(reason) for reason in decisions[1][0]]
    for name, wanted, judged in zip(
        ("accepted", "reason"), (decisions[0][0], np.array(codes)), decisions, strict=True
    ):
        is_sure = np.all([each == judged[0] for each in judged], axis=0)
        if (found[name] != wanted)[is_sure].any():
            raise RuntimeError(f"the exported file gives other {name} than decide. {_CURE}")


_CURE = (
    "Nothing was written. precision='float64' is right, unless a class lies 1e5 of its standard "
    "deviations or more from the others, near which only the package itself is exact: predict there"
)


def _check_one_alone(
    session: Any, inputs: dict[str, np.ndarray], found: dict[str, np.ndarray], tolerance: float
) -> None:
    alone = _outputs(session, {name: values[:1] for name, values in inputs.items()})
    differ = np.abs(alone["probabilities"] - found["probabilities"][:1]).max()
    if not differ <= tolerance:
        raise RuntimeError(
            f"the exported file gives other probabilities for a sample alone than in a batch: they "
            f"differ by {differ:.2g}, so samples of this network depend on each other. Nothing was "
            "written: take to_torch"
        )


def _check_not_finite(session: Any, inputs: dict[str, np.ndarray]) -> None:
    floats = [name for name, values in inputs.items() if values.dtype.kind == "f"]
    if not floats:
        return
    spoilt = {name: values.copy() for name, values in inputs.items()}
    spoilt[floats[0]][-1:].reshape(-1)[0] = np.nan
    found = _outputs(session, spoilt)
    if found["label"][-1] != UNKNOWN or not np.isnan(found["probabilities"][-1]).all():
        raise RuntimeError(f"the exported file gives a label for NaN. {_CURE}")
