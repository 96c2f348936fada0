"""What is exported: the extractor and the classifier of a pipeline, or why it cannot be."""

import copy
from typing import Any, NamedTuple

from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted
from torch import nn

from sklearn_densconf._array import to_numpy
from sklearn_densconf.density._posterior import PosteriorMixin
from sklearn_densconf.export._heads import EXPORTABLE
from sklearn_densconf.features import FeatureExtractor
from sklearn_densconf.openset import OpenSetClassifier
from sklearn_densconf.rejection import ConformalRejector


class Parts(NamedTuple):
    """What is exported.

    Attributes
    ----------
    extractor : FeatureExtractor or None
        None for a classifier alone.
    classifier : classifier
        One that `head_of` takes.
    rejector : ConformalRejector or None
        Of the classifier, as it takes features.
    """

    extractor: FeatureExtractor | None
    classifier: PosteriorMixin
    rejector: ConformalRejector | None


def parts_of(model: Any, *, preprocessed: bool) -> Parts:
    """Return the extractor, if there is one, and the classifier of what is to be exported.

    Parameters
    ----------
    model : Pipeline, classifier or ConformalRejector
        What the user gave.
    preprocessed : bool
        Whether the samples will be preprocessed before.

    Returns
    -------
    Parts
        The extractor, the classifier and the rejector.

    Raises
    ------
    TypeError
        If a part, or a kind of labels, cannot be exported; it is named.
    sklearn.exceptions.NotFittedError
        If it is not fitted.
    """
    model, rejector = _without_rejector(model)
    steps = [step for step in _steps(model) if step is not None and step != "passthrough"]
    extractor = steps[0] if isinstance(steps[0], FeatureExtractor) and len(steps) > 1 else None
    classifier = steps[-1]
    if others := steps[0 if extractor is None else 1 : -1]:
        n_before = _n_before_extractor(model)
        raise TypeError(
            f"{type(others[0]).__name__} cannot be exported: a pipeline must be a FeatureExtractor "
            f"and a classifier, or a classifier alone: export what follows, pipeline[{n_before}:], "
            "and apply the steps before it yourself"
        )
    _check_classifier(classifier)
    check_is_fitted(model)
    _check_labels(classifier)
    if isinstance(classifier, OpenSetClassifier) and classifier.posterior_ is not None:
        _check_classifier(classifier.posterior_)
    if extractor is not None and not preprocessed:
        _check_preprocessing(extractor)
    if rejector is not None:
        rejector = copy.copy(rejector)
        rejector.estimator_ = classifier
    return Parts(extractor, classifier, rejector)


def _steps(model: Any) -> list[Any]:
    return [step for _, step in model.steps] if isinstance(model, Pipeline) else [model]


def _without_rejector(model: Any) -> tuple[Any, ConformalRejector | None]:
    """Return what a rejector judges, and the rejector: the whole model, or its last step."""
    *before, last = _steps(model)
    if not isinstance(last, ConformalRejector):
        return model, None
    check_is_fitted(last)
    last._check_calibration()
    if callable(last.criterion):
        raise TypeError(
            f"criterion={last.criterion!r} of ConformalRejector is Python code and cannot be "
            "exported: export its estimator_, and reject with it what comes out"
        )
    if not before:
        return last.estimator_, last
    steps = [*model.steps[:-1], (model.steps[-1][0], last.estimator_)]
    return Pipeline(steps), last


def _n_before_extractor(pipeline: Pipeline) -> int:
    """Return how many steps come before what can be exported: the extractor, or the classifier."""
    steps = [step for _, step in pipeline.steps]
    extractors = [n for n, step in enumerate(steps) if isinstance(step, FeatureExtractor)]
    is_followed = extractors == [len(steps) - 2]
    return extractors[0] if is_followed else len(steps) - 1


def _check_classifier(classifier: Any) -> None:
    if type(classifier) not in EXPORTABLE:
        known = ", ".join(kind.__name__ for kind in EXPORTABLE)
        hint = _HINTS.get(type(classifier).__name__, "")
        raise TypeError(f"{type(classifier).__name__} cannot be exported, only {known} can{hint}")


def _check_labels(classifier: Any) -> None:
    """Refuse dates and durations: in a list of Python they may become numbers of nanoseconds."""
    classes = to_numpy(classifier.classes_)
    if classes.dtype.kind in "mM":
        raise TypeError(
            f"labels must be strings or numbers to be exported, got {classes[0]!r} of "
            f"{classes.dtype}: fit the classifier to y.astype(str)"
        )


_HINTS = {
    "DensityClassifier": ": a density model of any kind has no formula that could be written down",
}


def _check_preprocessing(extractor: FeatureExtractor) -> None:
    """Refuse a preprocessing that runs Python."""
    given = extractor.preprocessing
    if isinstance(given, nn.Module):
        return
    of_library = extractor._preprocessing_of_library
    if given is None and of_library is None:
        return
    which = f"preprocessing={given!r}" if given is not None else "the library's preprocessing"
    raise TypeError(
        f"{which} is Python code and cannot be exported: pass preprocessed=True, and what is "
        "exported takes the tensors that it gives; or let preprocessing be a torch.nn.Module"
    )
