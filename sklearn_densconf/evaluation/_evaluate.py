"""evaluate: the cases, for fitted pipelines, pictures and labels of one's own."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import joblib
import numpy as np
from sklearn.utils import check_consistent_length, column_or_1d

from sklearn_densconf._array import unmasked
from sklearn_densconf.evaluation._case import Case, Trial
from sklearn_densconf.evaluation._evaluation import Evaluation
from sklearn_densconf.evaluation._inputs import Form, form_of
from sklearn_densconf.evaluation._measures import accuracies
from sklearn_densconf.evaluation._pictures import Pictures
from sklearn_densconf.evaluation._pipelines import (
    as_subject,
    check_labels,
    check_pipelines,
    extractor_of,
    why_not_scalable,
)
from sklearn_densconf.evaluation._report import Words
from sklearn_densconf.evaluation._run import Clock, measure_cases, versions
from sklearn_densconf.evaluation._sweeps import RELATIVE_SWEEPS, Sweep
from sklearn_densconf.evaluation.cases import load_cases
from sklearn_densconf.evaluation.cases.unknown import MADE_NAMES


def evaluate(
    pipelines: Mapping[str, Any],
    X: Any,
    y: Any,
    *,
    cases: Sequence[str] | None = None,
    unknown: Mapping[str, Any] | None = None,
    severities: Mapping[str, Sequence[float]] | None = None,
    n_attacked: int = 100,
    pixel_range: tuple[float, float] | None = None,
    input_shape: Sequence[int] | None = None,
    random_state: int = 0,
    memory: Any = None,
    verbose: int = 0,
) -> Evaluation:
    """Measure how the confidences of fitted classifiers behave when pictures get worse.

    Each classifier is judged by its own labels and by its confidence in them. Pipelines that begin
    with equal fitted extractors share their features: each network sees each picture once. The
    cases are those of the paper's report:

    - "clean": accuracy, error detection and calibration on the pictures as they are;
    - "sweep": noise, blur and JPEG at several severities;
    - "strips": single pictures of the sweeps;
    - "attack": DeepFool, for extractors without preprocessing on arrays of pictures;
    - "scales": pixels multiplied by up to 100, where arrays of pictures allow it;
    - "unknown": uniform noise, inverted and shuffled pictures, and those given as ``unknown``.

    Parameters
    ----------
    pipelines : mapping of str to estimator
        Fitted classifiers with ``predict_proba`` under their names, such as pipelines of
        `FeatureExtractor` and `GaussianDensityClassifier`; the usual confidence first.
    X : array, tensor or sequence of pictures
        Held-out pictures as the pipelines take them: an array or tensor of shape (n, h, w),
        (n, c, h, w), (n, h, w, c) or, with ``input_shape``, of flat rows; or a list of paths, PIL
        images or uint8 arrays, which are distorted at their full size before any preprocessing and
        presented as PIL images.
    y : array-like of shape (n_samples,)
        True labels.
    cases : sequence of str, default=None
        Which cases; None takes all that can be measured.
    unknown : mapping of str to array or sequence of pictures, default=None
        Out-of-distribution pictures under their names, given as X is.
    severities : mapping of str to sequence of float, default=None
        Severities of "noise" (standard deviation as a fraction of the range of pixels), "blur"
        (standard deviation as a fraction of the longer side) and "JPEG" (quality), the mildest
        first, where those of the package do not suit.
    n_attacked : int, default=100
        How many pictures to attack, spread evenly over X.
    pixel_range : tuple of float, default=None
        Lowest and highest pixel of a floating X; None means (0, 1).
    input_shape : sequence of int, default=None
        Shape (h, w) or (c, h, w) of a picture in flat rows. None: the extractor's.
    random_state : int, default=0
        Seed of the noise and of what is drawn.
    memory : path, default=None
        Folder that keeps what networks computed, so that an interrupted call goes on from there.
        Extractors with a ``memory`` of their own keep using that.
    verbose : int, default=0
        1 says what took how long, and shows progress (needs tqdm).

    Returns
    -------
    Evaluation
        ``results``, ``rows()``, ``figures()`` and ``save(folder)``; ``print`` shows the tables.

    Raises
    ------
    ValueError
        If a pipeline has no ``predict_proba``, X are no pictures or outside of their range, a
        label was not seen in ``fit``, a case is not known or cannot be measured, or a set of
        ``unknown`` has the name of one that is made here.
    sklearn.exceptions.NotFittedError
        If a pipeline is not fitted.

    Examples
    --------
    >>> import torch
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn_densconf import FeatureExtractor, GaussianDensityClassifier
    >>> from sklearn_densconf.evaluation import evaluate
    >>> X, y = load_digits(return_X_y=True)
    >>> X = (X / 16).reshape(-1, 1, 8, 8)  # 1797 pictures
    >>> torch.manual_seed(0)  # doctest: +ELLIPSIS
    <torch...>
    >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 40), torch.nn.ReLU())
    >>> pipelines = {
    ...     "logistic": make_pipeline(FeatureExtractor(network), LogisticRegression()),
    ...     "density": make_pipeline(FeatureExtractor(network), GaussianDensityClassifier("tied")),
    ... }
    >>> for pipeline in pipelines.values():
    ...     _ = pipeline.fit(X[:1200], y[:1200])
    >>> evaluation = evaluate(pipelines, X[1200:], y[1200:], cases=["clean", "unknown"])
    >>> evaluation
    <Evaluation of logistic, density: clean, unknown>
    >>> sorted({row["pictures"] for row in evaluation.rows()})
    ['clean pictures', 'inverted pictures', 'shuffled pixels', 'uniform noise']
    """
    models = check_pipelines(pipelines)
    form = form_of(X, pixel_range, input_shape or _shape_seen(models))
    y = column_or_1d(unmasked(y))
    check_consistent_length(X, y)
    check_labels(y, models)
    pictures = form.read(X, y)
    subject = as_subject(models, form, memory)
    trial = Trial(
        subject,
        pictures,
        _chosen_sweeps(severities or {}, form, pictures),
        pictures.spread(min(_checked_number(n_attacked), len(y))),
        {name: _unlabelled(form, given, name) for name, given in (unknown or {}).items()},
        random_state,
        joblib.Memory(memory, verbose=0),
        why_not_scalable(subject, form),
        bool(verbose),
    )
    chosen, left_out = _chosen_cases(cases, trial)
    subject.examine(pictures.read(np.arange(1)))  # a wrong shape fails before anything long starts
    clock = Clock(bool(verbose))
    run = {"seed": random_state} | measure_cases(chosen, trial, clock)
    measured = {
        "pipelines": list(models),
        "n_classes": len(np.unique(y)),
        "n_test": len(y),
        "labels": {name: sweep.label for name, sweep in trial.sweeps.items()},
        "left_out": left_out,
        "versions": versions(),
        "runs": [run | {"seconds": clock.seconds}],
    }
    return Evaluation(measured, chosen, list(models), _words(measured))


def _shape_seen(models: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Return the shape of a picture as the first network that takes maps of pixels sees it."""
    extractors = filter(None, map(extractor_of, models.values()))
    shapes = (tuple(extractor.input_shape_) for extractor in extractors)
    return next((shape for shape in shapes if len(shape) in (2, 3)), None)


def _checked_number(n_attacked: int) -> int:
    if n_attacked < 1:
        raise ValueError(f"n_attacked must be at least 1, got {n_attacked}")
    return n_attacked


def _unlabelled(form: Form, given: Any, name: str) -> Pictures:
    if name in MADE_NAMES:
        raise ValueError(f"unknown has {name!r}, which is made here as well: give another name")
    return form.read(given, np.zeros(len(given)), f"unknown[{name!r}]")


def _chosen_sweeps(
    severities: Mapping[str, Sequence[float]], form: Form, pictures: Pictures
) -> dict[str, Sweep]:
    """Return the sweeps, with the user's severities; each of those is tried on one picture."""
    unnamed = sorted(set(severities) - set(RELATIVE_SWEEPS))
    if unnamed:
        raise ValueError(f"severities must be of {list(RELATIVE_SWEEPS)}, got {unnamed}")
    can_be_coded = form.picture_shape[0] in (1, 3) and find_spec("PIL") is not None
    sweeps = {k: v for k, v in RELATIVE_SWEEPS.items() if k != "JPEG" or can_be_coded}
    first = pictures.read(np.arange(1))
    given = {
        name: RELATIVE_SWEEPS[name].with_severities(f"severities[{name!r}]", values, first)
        for name, values in severities.items()
    }
    return sweeps | given


def _chosen_cases(cases: Sequence[str] | None, trial: Trial) -> tuple[list[Case], dict[str, str]]:
    """Return the cases that are asked for, and why the others cannot be measured."""
    known = load_cases()
    asked = [cases] if isinstance(cases, str) else cases
    wrong = sorted(set(asked or ()) - set(known))
    if wrong or asked == []:
        raise ValueError(f"cases must be of {list(known)}, got {asked}")
    reasons = {name: case.hindrance(trial) for name, case in known.items()}
    left_out = {name: reason for name, reason in reasons.items() if reason}
    for name in set(asked or ()) & set(left_out):
        raise ValueError(f"case {name!r} cannot be measured: {left_out[name]}")
    chosen = [known[name] for name in known if name not in left_out and name in (asked or known)]
    return chosen, {} if asked else left_out


def _words(measured: dict[str, Any]) -> Words:
    names, run = measured["pipelines"], measured["runs"][0]
    about = f"{measured['n_classes']} classes · {measured['n_test']:,} held-out pictures"
    if "clean" in run:
        each = accuracies(run["clean"]).items()
        about += " · accuracy: " + ", ".join(f"{name} {values[0]:.1%}" for name, values in each)
    facts = {
        "function": "sklearn_densconf.evaluation.evaluate",
        "seed": str(run["seed"]),
        "time": f"{sum(run['seconds'].values()) / 60:.1f} minutes, less what was kept",
        "versions": ", ".join(f"{name} {number}" for name, number in measured["versions"].items()),
    }
    facts |= {f"no {name}": reason for name, reason in measured["left_out"].items()}
    title = f"Confidences compared: {', '.join(names)}"
    return Words(title, about, {name: name for name in names}, facts)
