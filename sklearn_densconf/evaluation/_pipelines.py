"""Fitted pipelines of a user as a `Subject`: what can be shared is computed once."""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from sklearn_densconf._fingerprint import fingerprint
from sklearn_densconf.evaluation._inputs import Form
from sklearn_densconf.evaluation._subject import Subject

_LIBRARIES = ("torchvision:", "timm:")  # backbones that preprocess uint8 pixels


def check_pipelines(pipelines: Any) -> dict[str, Any]:
    """Return the fitted classifiers under their names; of a search, the best it found."""
    if not isinstance(pipelines, Mapping) or not pipelines:
        raise ValueError(
            f"pipelines must be a mapping of names to fitted classifiers, got {pipelines!r}: "
            "for one of them, {'name': pipeline}"
        )
    models = {name: getattr(p, "best_estimator_", p) for name, p in pipelines.items()}
    for name, model in models.items():
        if not hasattr(model, "predict_proba"):
            raise ValueError(
                f"pipeline {name!r} has no predict_proba, which a confidence needs: wrap "
                f"{model!r} in sklearn.calibration.CalibratedClassifierCV"
            )
        check_is_fitted(model)
    return models


def extractor_of(model: Any) -> Any:
    """Return the fitted FeatureExtractor that a pipeline begins with, or None."""
    first = model[0] if isinstance(model, Pipeline) and len(model) > 1 else None
    return first if hasattr(first, "backbone_") and hasattr(first, "feature_groups_") else None


def as_subject(models: Mapping[str, Any], form: Form, memory: Any) -> Subject:
    """Return the subject of fitted classifiers: equal extractors become one.

    ``memory`` is a folder for the features of extractors that have none, or None.
    """
    numbers: dict[str, int] = {}
    extractors: list[Any] = []
    parts = {}
    for name, model in models.items():
        extractor = extractor_of(model)
        key = _content(extractor)
        if key not in numbers:
            numbers[key] = len(extractors)
            extractors.append(_with_memory(extractor, memory))
        parts[name] = numbers[key], _behind(model) if extractor else model
    scored = [name for name, (_, model) in parts.items() if hasattr(model, "score_samples")]
    return Subject(
        tuple(extractors),
        parts,
        names=tuple(models),
        compared=tuple(models),
        log_densities={f"{name}, log p(z)": name for name in scored},
        present=form.present,
        attackable=tuple(i for i, one in enumerate(extractors) if _takes_pixels(one, form)),
        pixel_range=(0.0, 1.0) if form.is_pixels else form.pixel_range,
    )


def why_not_scalable(subject: Subject, form: Form) -> str:
    """Say why the pixels cannot leave their range; nothing if they can."""
    if form.shape is None:
        return "pictures that are given one by one have pixels of 0-255 and no others"
    if form.is_pixels and len(subject.attackable) < len(subject.extractors):
        return "uint8 pixels cannot be multiplied: give floating pixels, or no preprocessing"
    return ""


def _content(extractor: Any) -> str:
    """Hash an extractor, so that equal ones are told; one that cannot be hashed equals itself."""
    try:
        return fingerprint(extractor)
    except TypeError:  # a lock in its preprocessing, for instance
        return str(id(extractor))


def _behind(model: Pipeline) -> Any:
    """Return what comes after the extractor: the last step itself, or the rest of the pipeline."""
    return model[-1] if len(model) == 2 else model[1:]


def _with_memory(extractor: Any, memory: Any) -> Any:
    if extractor is None or memory is None or extractor.memory is not None:
        return extractor
    return copy.copy(extractor).set_params(memory=memory)


def _takes_pixels(extractor: Any, form: Form) -> bool:
    """Tell whether the network sees the pixels themselves, of which gradients can be taken."""
    if extractor is None or form.shape is None or extractor.preprocessing is not None:
        return False
    return not (form.is_pixels and str(extractor.backbone).startswith(_LIBRARIES))


def check_labels(y: np.ndarray, models: Mapping[str, Any]) -> None:
    """Refuse labels that a classifier cannot give."""
    for name, model in models.items():
        unseen = np.setdiff1d(y, model.classes_)
        if len(unseen):
            raise ValueError(
                f"y has the labels {unseen[:5].tolist()}, which pipeline {name!r} was not fitted "
                "with: drop their pictures, or give them as unknown={'name': pictures}"
            )
