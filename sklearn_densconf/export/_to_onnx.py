"""to_onnx: a fitted pipeline or classifier as one ONNX file."""

import json
import os
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sklearn_densconf._array import to_numpy
from sklearn_densconf._files import whole_file
from sklearn_densconf._optional import import_optional
from sklearn_densconf._validation import check_option
from sklearn_densconf.export._check import check_file
from sklearn_densconf.export._confidence import Confidence, ConfidenceHead, Decided
from sklearn_densconf.export._network import ConfidenceNetwork
from sklearn_densconf.export._parts import Parts, parts_of
from sklearn_densconf.export._rejection import REASONS
from sklearn_densconf.export._samples import N_EXAMPLES, example_for
from sklearn_densconf.export._to_torch import PRECISIONS, assembled
from sklearn_densconf.features._onnx_export import check_exporter
from sklearn_densconf.features.inputs import Batch, Named

OPSET = 20
MOST_BYTES = 2**31 - 2**20  # of weights: a file of protobuf ends at 2 GiB


def to_onnx(
    model: Any,
    file: str | os.PathLike,
    *,
    precision: str = "float64",
    example: Any = None,
    preprocessed: bool = False,
    check: bool = True,
) -> None:
    """Write a fitted pipeline or classifier as one ONNX file.

    The file is what `to_torch` makes, for engines that know neither torch nor scikit-learn. It
    takes batches of any size. Its input is called "samples", that of a classifier alone "features"
    (several inputs keep their names). Its outputs are those of `Confidence`, by name: "label"
    (n,) int64, the number of the label; "probabilities" (n, k); and where the classifier has them,
    "known" (n,) and "score" (n,); of a `ConformalRejector` also "accepted" (n,) bool, and "reason"
    (n,) int64, whose words are "reasons" in the metadata. Its metadata hold, among others,
    "classes": the labels as a list in JSON, strings or numbers.

    Parameters
    ----------
    model : Pipeline or classifier
        As of `to_torch`.
    file : path
        The file; one that is there is replaced. It is written whole or not at all.
    precision : {"float64", "float32"}, default="float64"
        As of `to_torch`: of the classifier, and of all outputs but the label. Take float32 for
        engines that have no float64: OpenVINO computes in float32 whatever the file says, and
        squares of far points overflow then.
    example : array, Tensor or mapping of arrays, default=None
        A few samples such as will be given to the file, which decide about their shape and type.
        None: float32 of the shape that the network takes, or of the features of the classifier.
    preprocessed : bool, default=False
        As of `to_torch`.
    check : bool, default=True
        Whether onnxruntime runs the file, before it gets its name, on the example and, for a
        classifier alone, on features between the classes: its numbers must be those of ``predict``,
        ``predict_proba``, ``known_proba`` and ``score_samples``, as far as the rounding of features
        allows.

    Raises
    ------
    TypeError
        If a part cannot be exported, as of `to_torch`.
    ValueError
        As of `to_torch`; if the network gives other numbers for the same samples a second time; if
        the file would be larger than 2 GiB, which ONNX does not allow.
    RuntimeError
        If the file gives other numbers than the model, or torch cannot export the network.
    FileNotFoundError
        If there is no such folder.
    ImportError
        If onnx, onnxscript or onnxruntime is missing, or torch is older than 2.9.

    See Also
    --------
    to_torch : Makes the module that is written.

    Notes
    -----
    The file has opset 20 of ONNX. Whatever runs it, a sample with a NaN or infinite value, pixel or
    activation gets the label -1 and probabilities of NaN: that is looked for before anything is
    reduced, since engines drop a NaN in a maximum. It is not seen where a layer in the middle of
    the network makes a NaN of finite numbers and the next one drops it. Among equal probabilities
    the label is the first, as in scikit-learn.

    Examples
    --------
    >>> import json, tempfile
    >>> import numpy as np, onnxruntime
    >>> from sklearn_densconf import GaussianDensityClassifier
    >>> from sklearn_densconf.export import to_onnx
    >>> classifier = GaussianDensityClassifier().fit([[0.0], [1.0], [4.0], [5.0]], list("aabb"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_onnx(classifier, f"{folder}/head.onnx")
    ...     session = onnxruntime.InferenceSession(f"{folder}/head.onnx")
    >>> classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
    >>> features = np.array([[0.5], [3.0]], np.float32)
    >>> [classes[code] for code in session.run(["label"], {"features": features})[0]]
    ['a', 'b']
    """
    check_option("precision", precision, PRECISIONS)
    path = Path(file)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {str(path.parent)!r} to write {path.name} to")
    _check_libraries(check=check)
    parts = parts_of(model, preprocessed=preprocessed)
    taken = _example(parts, example)
    module = assembled(parts, PRECISIONS[precision], taken, preprocessed=preprocessed)
    _check_size(module)
    content = _content(module, taken, _metadata(parts, precision))
    if check:
        check_file(content, parts, module, taken, precision)
    with whole_file(path) as unfinished:
        unfinished.write_bytes(content)


def _check_libraries(*, check: bool) -> None:
    check_exporter("export.to_onnx")
    if check:
        import_optional("onnxruntime", "export.to_onnx")


def _example(parts: Parts, example: Any) -> Batch:
    extractor, classifier, _ = parts
    if extractor is not None:
        return example_for(extractor, example)
    width = classifier.n_features_in_
    if example is None:
        return torch.zeros(N_EXAMPLES, width)
    features = torch.as_tensor(example).detach().cpu()
    if features.ndim != 2 or features.shape[1] != width or not features.is_floating_point():
        raise ValueError(
            f"example must have features (n, {width}) of a floating-point type, got "
            f"{tuple(features.shape)} of {features.dtype}"
        )
    return features[torch.arange(N_EXAMPLES) % features.shape[0]]


def _check_size(module: nn.Module) -> None:
    tensors = [*module.parameters(), *module.buffers()]
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    if size > MOST_BYTES:
        raise ValueError(
            f"the file would hold {size:,} bytes, and ONNX allows 2 GiB: take to_torch and "
            "torch.export, or a smaller network or covariance_type"
        )


def _content(
    module: ConfidenceNetwork | ConfidenceHead, example: Batch, metadata: dict[str, str]
) -> bytes:
    """Return the bytes of the file."""
    inputs = _inputs(module, example)
    outputs = _Outputs(module, list(inputs) if isinstance(example, Named) else [])
    n: Any = torch.export.Dim("n")
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of what its exporter does itself
        model = _exported(
            outputs,
            args=tuple(inputs.values()),
            input_names=list(inputs),
            output_names=outputs.names_for(inputs),
            dynamic_shapes=(tuple({0: n} for _ in inputs),),
        )
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.initializer):
        part.ClearField("metadata_props")  # where in the code they are from, with the paths here
    model.graph.ClearField("metadata_props")
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    return model.SerializeToString()


def _exported(module: nn.Module, **arguments: Any) -> Any:
    """Return what the exporter of torch makes, as a message of protobuf."""
    try:
        program: Any = torch.onnx.export(
            module, **arguments, opset_version=OPSET, dynamo=True, verbose=False
        )
    except Exception as error:  # those of torch are private, and long
        cause = str(error.__cause__ or error).strip().partition("\n")[0]
        raise RuntimeError(
            f"torch cannot export the network ({cause}): torch.export must be able to follow its "
            "forward method for batches of any size"
        ) from error
    return program.model_proto


def _inputs(module: nn.Module, example: Batch) -> dict[str, torch.Tensor]:
    """Return the example by the names of the inputs."""
    if isinstance(example, Named):
        return example.tensors
    return {"features" if isinstance(module, ConfidenceHead) else "samples": example}


class _Outputs(nn.Module):
    """What there is of a `Confidence`: the exporter knows no None, and no sizes of named inputs.

    Parameters
    ----------
    module : torch.nn.Module
        What gives the `Confidence`.
    names : list of str
        The names of its inputs, in the order in which they will be given; empty: they have none.
    """

    def __init__(self, module: ConfidenceNetwork | ConfidenceHead, names: list[str]) -> None:
        super().__init__()
        self.module = module
        self._names = names

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the outputs that are there."""
        return tuple(each for each in self._confidence(*inputs) if each is not None)

    def names_for(self, inputs: dict[str, torch.Tensor]) -> list[str]:
        """Return the names of the outputs."""
        found = self._confidence(*inputs.values())
        return [name for name, value in found._asdict().items() if value is not None]

    def _confidence(self, *inputs: torch.Tensor) -> Confidence | Decided:
        if self._names:
            return self.module(**dict(zip(self._names, inputs, strict=True)))
        return self.module(*inputs)


def _metadata(parts: Parts, precision: str) -> dict[str, str]:
    extractor, classifier, rejector = parts
    packages = ("sklearn_densconf", "torch", "scikit-learn")
    about = {
        "classes": json.dumps(to_numpy(classifier.classes_).tolist(), ensure_ascii=False),
        "classifier": type(classifier).__name__,
        "precision": precision,
        "versions": json.dumps({name: version(name) for name in packages}),
    }
    if rejector is not None:
        about["reasons"] = json.dumps(REASONS)
    if extractor is not None:
        about["network"] = extractor.backbone_.fingerprint
        about["layers"] = json.dumps(list(extractor.feature_groups_))
    return about
