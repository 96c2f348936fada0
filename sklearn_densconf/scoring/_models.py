"""Models from files: pipelines that joblib or `io.save` wrote, and ONNX files."""

import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import joblib
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.pipeline import Pipeline

from sklearn_densconf._array import to_numpy
from sklearn_densconf.scoring._code import Code, function_of
from sklearn_densconf.scoring._onnx import OnnxScorer
from sklearn_densconf.scoring._shards import Scorer, Scores, one_line

_SAVED = b"densconf"  # how a file of io.save begins


class EstimatorScorer:
    """A fitted pipeline, or any classifier that takes paths.

    Parameters
    ----------
    model : classifier
        With ``predict_proba``.
    """

    def __init__(self, model: Any) -> None:
        self._model = model

    def __call__(self, paths: Sequence[str]) -> Scores:
        """Return the scores of pictures, which pass through the network once."""
        last, X = self._model, list(paths)
        if isinstance(last, Pipeline):
            X, last = last[:-1].transform(X), last[-1]
        probabilities = to_numpy(last.predict_proba(X))
        return Scores(
            to_numpy(last.predict(X)),
            probabilities.max(axis=1),
            to_numpy(last.known_proba(X)) if hasattr(last, "known_proba") else None,
            to_numpy(last.score_samples(X)) if hasattr(last, "score_samples") else None,
        )


def read_scorer(file: Path, preprocessing: str | None, n_threads: int, code: Code) -> Scorer:
    """Read a model.

    Parameters
    ----------
    file : Path
        From joblib, `io.save` or `export.to_onnx`.
    preprocessing : str or None
        "package.module:function" or "path/to/file.py:function", for an ONNX file.
    n_threads : int
        Threads of onnxruntime.
    code : Code
        What a file of `io.save` may run.

    Returns
    -------
    callable
        From paths to `Scores`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it holds no classifier, is damaged, a newer version wrote it, or it needs other code.
    """
    if is_onnx(file):
        function = None if preprocessing is None else function_of(preprocessing, "--preprocessing")
        scorer: Scorer = OnnxScorer(file, function, n_threads)
    else:
        if preprocessing is not None:
            raise ValueError("--preprocessing is for ONNX files: a pipeline brings its own")
        scorer = EstimatorScorer(load_classifier(file, code))
    code.check_used()
    return scorer


def is_onnx(file: Path) -> bool:
    """Tell whether a model is of ONNX; check that it is there.

    Parameters
    ----------
    file : Path
        The model.

    Returns
    -------
    bool
        By the name of the file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    if not file.is_file():
        raise FileNotFoundError(f"there is no model {file}")
    return file.suffix == ".onnx"


def load_classifier(file: Path, code: Code) -> Any:
    """Load what joblib or `io.save` wrote.

    Parameters
    ----------
    file : Path
        The file.
    code : Code
        What a file of `io.save` may run.

    Returns
    -------
    classifier
        With ``predict_proba``.

    Raises
    ------
    ValueError
        If it holds no classifier, is damaged, a newer version wrote it, or it needs other code.
    """
    model = _loaded(file, code)
    if not hasattr(model, "predict_proba"):
        raise ValueError(
            f"{file} holds a {type(model).__name__}, wanted a classifier or a pipeline that ends "
            "in one"
        )
    return model


def identity(file: Path, preprocessing: str | None) -> str:
    """Return a hash of a model's file, and of the preprocessing that it gets.

    Parameters
    ----------
    file : Path
        The model.
    preprocessing : str or None
        As of `read_scorer`.

    Returns
    -------
    str
        The hash.
    """
    digest = hashlib.sha256((preprocessing or "").encode())
    code = Path((preprocessing or "").rpartition(":")[0])
    for path in (file, *([code] if code.suffix == ".py" else [])):
        with path.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()


def _loaded(file: Path, code: Code) -> Any:
    """Load a pipeline; say of what is wrong with the file that it is the file."""
    with file.open("rb") as content:
        begins = content.read(len(_SAVED))
    if begins == _SAVED:
        return code.load(file)
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", InconsistentVersionWarning)
            model = joblib.load(file)
    except Exception as error:  # unpickling runs any code, and raises anything
        raise ValueError(
            f"{file} cannot be loaded ({type(error).__name__}: {one_line(error)}): is it a model "
            "that joblib wrote, here and with these versions?"
        ) from error
    _check_versions(file, [each.message for each in told])
    return model


def _check_versions(file: Path, told: Sequence[Any]) -> None:
    """Refuse what a newer scikit-learn wrote; scikit-learn itself only warns."""
    for each in told:
        if isinstance(each, InconsistentVersionWarning) and _is_newer(each):
            raise ValueError(
                f"{file} was written with scikit-learn {each.original_sklearn_version}, and this "
                f"is {each.current_sklearn_version}: upgrade it, or fit again"
            )


def _is_newer(warning: InconsistentVersionWarning) -> bool:
    versions = (warning.original_sklearn_version, warning.current_sklearn_version)
    original, current = ([int(n) for n in v.split(".")[:2]] for v in versions)
    return original > current
