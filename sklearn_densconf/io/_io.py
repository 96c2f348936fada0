"""Estimators to a file, and back."""

from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any

from sklearn_densconf import __version__
from sklearn_densconf.io import _container
from sklearn_densconf.io._classes import (
    LEFT_OUT,
    MISSING,
    PLACES,
    class_of,
    defaults_of,
    learned_of,
    name_of,
)
from sklearn_densconf.io._values import Reader, Writer


def save(estimator: Any, file: str | PathLike[str]) -> Path:
    """Write an estimator or pipeline to one file that can be loaded without running code.

    The file has arrays and JSON under one checksum, and no pickle. It holds what this package
    defines, and of scikit-learn pipelines, scalers, PCA, logistic regression and Gaussian mixtures.
    The network of a `FeatureExtractor` is kept

    - whole, if it is an ONNX file;
    - by its name, if it is "torchvision:NAME", "timm:NAME" or "package.module:function", with a
      hash of its weights;
    - by its weights alone, if it is a module: `load` then needs the module's code, ``network=``.

    Functions (``preprocessing``, ``pooling``, ``criterion``) are kept by name and must be functions
    of modules. What ``memory`` names is left out, being a folder of this machine.

    Parameters
    ----------
    estimator : estimator
        A classifier, a rejector, an extractor, or a pipeline of them; fitted or not.
    file : path
        Where to write; a file that is there is replaced.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    TypeError
        If something in it is of a class that a file cannot hold.
    OSError
        If the file cannot be written, for instance because its folder is missing; one that was
        there is as it was.

    See Also
    --------
    load : Reads it.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_densconf import GaussianDensityClassifier, io
    >>> X, y = load_iris(return_X_y=True)
    >>> density = GaussianDensityClassifier().fit(X, y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = io.save(density, Path(folder, "iris.densconf"))
    ...     (io.load(file).predict_proba(X) == density.predict_proba(X)).all().item()
    True
    """
    told: list[dict[str, Any]] = []
    numbers: dict[int, int] = {}

    def add(part: Any) -> int:
        if id(part) not in numbers:
            about = _written(part, writer)
            numbers[id(part)] = len(told)
            told.append(about)
        return numbers[id(part)]

    writer = Writer(add)
    add(estimator)
    path = Path(file)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} for {path}: make it")
    content = {"saved_by": f"sklearn_densconf {__version__}", "estimators": told}
    _container.write(path.resolve(), content, writer.arrays)  # a link stays one
    return path


def load(file: str | PathLike[str], *, network: Any = None, allow_code: Iterable[str] = ()) -> Any:
    """Read what `save` wrote, to the last bit; no code is run but what is allowed by name.

    Parameters
    ----------
    file : path
        The file.
    network : torch.nn.Module or FrozenBackbone, default=None
        For a file that has the weights of a network, but not its code: the same module, built
        anew. It is left as it is; a copy gets the weights.
    allow_code : iterable of str, default=()
        Functions that may be imported and called, "package.module:function" each, since the file
        asks for them: builders of networks, ``preprocessing``, ``pooling``, ``criterion``. An
        import runs the module: allow only what you know.

    Returns
    -------
    estimator
        As it was saved, with ``memory=None``. The ``backbone`` of an extractor is the network
        itself where it was an ONNX file or a module.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not a file of `save`, damaged or from a newer version; if it has anything that
        this version does not know; if the network that is there is another, or ``network`` is
        missing, or given in vain.
    PermissionError
        If it asks for code that is not allowed; the message names all of it.

    See Also
    --------
    save : Writes it.

    Examples
    --------
    >>> from sklearn_densconf import io
    >>> pipeline = io.load("model.densconf", allow_code=["nets:preprocess"])  # doctest: +SKIP
    """
    path = Path(file)
    content, arrays = _container.read(path)
    allowed = _names(allow_code)
    asked = _asked(content)
    if refused := sorted(asked - allowed):
        raise PermissionError(
            f"{path} asks for code: to import and call {refused}. If you know it, pass "
            f"allow_code={sorted(asked)}"
        )
    reader = Reader(arrays, allowed)
    try:
        if set(content) != {"saved_by", "estimators"}:
            raise ValueError(f"it has the parts {sorted(content)}")
        if network is not None and not any(map(_wants_network, content["estimators"])):
            raise ValueError("it takes no network=: what it has of networks is whole, or a name")
        for about in content["estimators"]:
            reader.add(_read(about, reader, network))
        return reader.estimators[-1]
    except _WRONG as error:
        raise ValueError(f"{path}: {error}") from error


# What values of another kind than is expected raise, torch's among them.
_WRONG = (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)


def _written(estimator: Any, writer: Writer) -> dict[str, Any]:
    """Take one estimator apart; those in it come before it in the file."""
    name = name_of(estimator)
    state = {key: value for key, value in estimator.__getstate__().items() if key not in LEFT_OUT}
    state |= dict.fromkeys(PLACES & state.keys())
    if unknown := sorted(state.keys() - defaults_of(type(estimator)).keys() - learned_of(name)):
        raise TypeError(
            f"cannot save {name}: it has the attributes {unknown}, which a file does not hold"
        )
    about: dict[str, Any] = {"class": name}
    if name == "FeatureExtractor":
        from sklearn_densconf.io._networks import written

        about["network"] = written(estimator, writer)
        del state["backbone"]
    about["state"] = {key: writer(value, f"{name}.{key}") for key, value in state.items()}
    return about


def _read(about: dict[str, Any], reader: Reader, network: Any) -> Any:
    """Make one estimator."""
    name, told = about["class"], about["state"]
    kind = class_of(name)
    parameters = defaults_of(kind)
    has_network = name == "FeatureExtractor"
    keys = {"class", "state", *(["network"] if has_network else [])}
    unknown = (about.keys() - keys) | (told.keys() - parameters.keys() - learned_of(name))
    if unknown:
        raise ValueError(
            f"{name} has {sorted(unknown)}, which this version of sklearn_densconf does not know: "
            "the file is from a newer one"
        )
    state = {key: reader(value) for key, value in told.items()}
    if has_network:
        from sklearn_densconf.io._networks import read

        state |= read(about["network"], network, reader, "feature_groups_" in state)
    whole = parameters | state
    if missing := [key for key, value in whole.items() if value is MISSING]:
        raise ValueError(f"{name} lacks {missing}")
    estimator: Any = object.__new__(kind)
    estimator.__setstate__(whole)
    return estimator


def _names(allow_code: Any) -> set[str]:
    """Return the names of functions that are allowed; there is no word for all of them."""
    names = [allow_code] if isinstance(allow_code, str) else allow_code
    if isinstance(names, Iterable) and all(isinstance(name, str) for name in names):
        return set(names)
    raise TypeError(
        "allow_code must be names of functions, such as ['nets:preprocess'], got "
        f"{allow_code!r}: the error of a call without it names those that the file asks for"
    )


def _wants_network(about: dict[str, Any]) -> bool:
    return "weights" in about.get("network", {})


def _asked(told: Any) -> set[str]:
    """Collect the names of all code that a file asks for."""
    if isinstance(told, list):
        return set().union(*map(_asked, told))
    if not isinstance(told, dict):
        return set()
    found = set().union(*map(_asked, told.values()))
    if "function" in told:
        found.add(str(told["function"][0]))
    if isinstance(name := told.get("name"), list) and _is_code(str(name[0])):
        found.add(str(name[0]))
    return found


def _is_code(backbone: str) -> bool:
    """Tell whether the name of a network is that of a function to be called."""
    return backbone.partition(":")[0] not in ("torchvision", "timm")
