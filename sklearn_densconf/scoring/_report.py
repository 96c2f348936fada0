"""The command ``report``: how far to trust models from files, on labelled pictures."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sklearn_densconf._optional import import_optional
from sklearn_densconf.scoring._code import Code
from sklearn_densconf.scoring._labelled import as_classes, read_labelled
from sklearn_densconf.scoring._listing import find_pictures
from sklearn_densconf.scoring._models import is_onnx, load_classifier
from sklearn_densconf.scoring._onnx_classifier import OnnxClassifier
from sklearn_densconf.scoring._shards import why_unreadable


@dataclass(frozen=True)
class Request:
    """What the command line asks for."""

    models: Sequence[str]  # files, or NAME=FILE
    pictures: Path
    out: Path
    unknown: Sequence[Path] = ()
    cases: Sequence[str] | None = None
    preprocessing: str | None = None
    skip_broken: bool = False
    quiet: bool = False
    allow_code: Sequence[str] = ()
    network: str | None = None


def report(request: Request) -> tuple[Path, str]:
    """Measure the confidences of models, and write a report.

    Parameters
    ----------
    request : Request
        What to do.

    Returns
    -------
    place : Path
        The report, an HTML file; ``results.json`` and figures lie beside it.
    told : str
        What each model loses, and all tables.

    Raises
    ------
    FileNotFoundError
        If a model or an input is not there.
    ImportError
        If matplotlib is missing.
    ValueError
        If a model is none, labels are not its own, or a picture cannot be read.
    OSError
        If something cannot be read or written.
    """
    from sklearn_densconf.evaluation import evaluate

    if request.out.exists() and not request.out.is_dir():
        raise ValueError(f"--out must be a folder, and {request.out} is a file")
    import_optional("matplotlib", "A report")  # before anything long starts
    models = dict(_models(request))
    paths, labels = read_labelled(request.pictures)
    unknown = dict(_unknown(request.unknown))
    if request.skip_broken:
        paths, labels = _readable(paths, labels)
        unknown = {name: _readable(found, found)[0] for name, found in unknown.items()}
    evaluation = evaluate(
        models,
        paths,
        _agreed(labels, models),
        cases=request.cases,
        unknown=unknown,
        memory=request.out / "cache",
        verbose=int(not request.quiet),
    )
    return evaluation.save(request.out), f"{evaluation.losses()}\n\n{evaluation}\n"


def _models(request: Request) -> Iterator[tuple[str, Any]]:
    """Load the models, under the names that they are given or those of their files."""
    code, files = Code(request.allow_code, request.network), _files(request.models)
    if request.preprocessing is not None and not any(map(is_onnx, files.values())):
        raise ValueError("--preprocessing is for ONNX files: a pipeline brings its own")
    for name, file in files.items():
        if is_onnx(file):
            yield name, OnnxClassifier(file, request.preprocessing)
        else:
            yield name, load_classifier(file, code)
    code.check_used()


def _files(models: Sequence[str]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for given in models:
        name, equals, file = given.partition("=")
        path = Path(given if Path(given).exists() or not equals else file)
        name = path.stem if path == Path(given) else name
        if name in files:
            raise ValueError(f"{files[name]} and {path} are both {name!r}: give NAME=FILE")
        files[name] = path
    return files


def _unknown(folders: Sequence[Path]) -> Iterator[tuple[str, list[str]]]:
    for folder in folders:
        if not (found := list(find_pictures([str(folder)]))):
            raise ValueError(f"--unknown {folder} has no pictures")
        yield folder.resolve().stem, found


def _readable(paths: list[str], labels: list[str]) -> tuple[list[str], list[str]]:
    """Leave out pictures that cannot be decoded, and tell of them."""
    reasons = {path: reason for path in paths if (reason := why_unreadable(path))}
    for path, reason in reasons.items():
        sys.stderr.write(f"{path} is left out: {reason}\n")
    if len(reasons) == len(set(paths)):
        raise ValueError(f"no picture can be read: {reasons[paths[0]]}")
    kept = [(path, label) for path, label in zip(paths, labels, strict=True) if path not in reasons]
    return [path for path, _ in kept], [label for _, label in kept]


def _agreed(labels: Sequence[str], models: Mapping[str, Any]) -> np.ndarray:
    """Return labels as all models say them."""
    found = {name: as_classes(labels, model.classes_, name) for name, model in models.items()}
    first, y = next(iter(found.items()))
    for name, other in found.items():
        if other.dtype.kind != y.dtype.kind or (other != y).any():
            raise ValueError(
                f"{first} and {name} call the same class {y[0]!r} and {other[0]!r}: fit them with "
                "the same labels"
            )
    return y
