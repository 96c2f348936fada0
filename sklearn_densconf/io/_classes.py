"""Which classes a file may name, and which learned attributes of theirs it may hold.

A file names a class by a word of this table, so that no file can have anything else imported. An
attribute that is not in it is refused when it is saved, rather than lost.
"""

from importlib import import_module
from inspect import Parameter, signature
from typing import Any

_NAMED = ("n_features_in_", "feature_names_in_")
_DENSITY = ("classes_", *_NAMED)

CLASSES: dict[str, tuple[str, tuple[str, ...]]] = {  # name -> module, learned attributes
    "ConformalRejector": (
        "sklearn_densconf.rejection",
        (
            *("estimator_", "classes_", "calibration_scores_", "threshold_", "coverage_"),
            "_calibrated_with",
        ),
    ),
    "DensityClassifier": (
        "sklearn_densconf.density",
        (*_DENSITY, "class_count_", "class_prior_", "estimators_"),
    ),
    "DriftMonitor": (
        "sklearn_densconf.monitoring",
        (
            *("n_calibration_", "n_seen_", "log_peak_", "alarm_at_", "history_", "stride_"),
            *("n_history_", "_seed", "_log_threshold", "_cuts", "_counts", "_base"),
            *("_log_asleep", "_log_active", "_round", "_n_parts", "_parts", "_n_drawn"),
        ),
    ),
    "FeatureExtractor": (
        "sklearn_densconf.features",
        (*_NAMED, "feature_groups_", "input_shape_", "_layers", "_largest"),
    ),
    "GaussianDensityClassifier": (
        "sklearn_densconf.density",
        (*_DENSITY, "_moments", "shrinkage_"),
    ),
    "OpenSetClassifier": (
        "sklearn_densconf.openset",
        (
            *(*_DENSITY, "_moments", "_order", "_width", "_fitted_here", "density_", "background_"),
            *("location_", "scale_", "temperature_", "posterior_"),
        ),
    ),
    "SoftmaxClassifier": ("sklearn_densconf.density", (*_DENSITY, "_order", "temperature_")),
    "Pipeline": ("sklearn.pipeline", ()),
    "GaussianMixture": (
        "sklearn.mixture",
        (
            *("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_"),
            *("converged_", "n_iter_", "lower_bound_", "lower_bounds_", *_NAMED),
        ),
    ),
    "LogisticRegression": ("sklearn.linear_model", (*_DENSITY, "coef_", "intercept_", "n_iter_")),
    "MaxAbsScaler": (
        "sklearn.preprocessing",
        ("scale_", "max_abs_", "n_samples_seen_", *_NAMED),
    ),
    "MinMaxScaler": (
        "sklearn.preprocessing",
        (
            *("min_", "scale_", "data_min_", "data_max_", "data_range_", "n_samples_seen_"),
            *_NAMED,
        ),
    ),
    "Normalizer": ("sklearn.preprocessing", _NAMED),
    "PCA": (
        "sklearn.decomposition",
        (
            *("components_", "explained_variance_", "explained_variance_ratio_"),
            *("singular_values_", "mean_", "n_components_", "n_samples_", "noise_variance_"),
            *("_fit_svd_solver", *_NAMED),
        ),
    ),
    "RobustScaler": ("sklearn.preprocessing", ("center_", "scale_", *_NAMED)),
    "StandardScaler": (
        "sklearn.preprocessing",
        ("scale_", "mean_", "var_", "n_samples_seen_", *_NAMED),
    ),
}
# Made again when they are asked for, or parameters that name a place of one machine.
LEFT_OUT = {"_derived", "_models", "backbone_", "_preprocessing_of_library"}
MISSING = Parameter.empty
PLACES = {"memory"}


def class_of(name: str) -> type:
    """Return a class of the table.

    Raises
    ------
    ValueError
        If it is not there.
    """
    if name not in CLASSES:
        raise ValueError(f"there is no class {name!r} that a file may hold")
    return getattr(import_module(CLASSES[name][0]), name)


def name_of(estimator: Any) -> str:
    """Return the name of an estimator's class.

    Raises
    ------
    TypeError
        If it is not in the table.
    """
    name = type(estimator).__name__
    if name not in CLASSES or class_of(name) is not type(estimator):
        raise TypeError(
            f"cannot save {type(estimator).__module__}.{name}: a file holds {', '.join(CLASSES)}. "
            "Use joblib, whose files run code when they are loaded, or skops"
        )
    return name


def defaults_of(kind: type) -> dict[str, Any]:
    """Return the parameters of a class, with their defaults; `MISSING` where there is none."""
    return {name: each.default for name, each in signature(kind).parameters.items()}


def learned_of(name: str) -> set[str]:
    """Return the learned attributes that a file may hold; scikit-learn has two for all."""
    return {*CLASSES[name][1], "_sklearn_version", "_sklearn_output_config"}
