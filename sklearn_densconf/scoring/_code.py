"""Code of the user's that the command line names: functions of modules and of files."""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle

from sklearn_densconf.scoring._shards import one_line


class Code:
    """What code a file of `io.save` may run: functions by name, and the builder of its network.

    Parameters
    ----------
    allowed : sequence of str
        Names of functions, "package.module:function" each.
    network : str or None
        "package.module:function" or "path/to/file.py:function", which returns the network.
    """

    def __init__(self, allowed: Sequence[str] = (), network: str | None = None) -> None:
        self._allowed = list(allowed)
        self._network = network
        self._is_used = False

    def load(self, file: Path) -> Any:
        """Load a file; where it asks for code, tell what the command line can take."""
        from sklearn_densconf.io import load

        try:
            return load(file, allow_code=self._allowed)
        except PermissionError as error:
            if "allow_code=" not in str(error):
                raise
            names, _ = one_line(error).split(". If you know it")
            raise ValueError(f"{names}. If you know it, give --allow-code for each") from error
        except ValueError as error:
            if "pass network=" not in str(error):
                raise
            if self._network is None:
                raise ValueError(
                    f"{file} has the weights of a network, but not its code: give --network "
                    "package.module:function or --network path/to/file.py:function, which builds it"
                ) from error
        self._is_used = True
        return load(file, allow_code=self._allowed, network=self._built(self._network))

    def check_used(self) -> None:
        """Refuse a network that no file has asked for."""
        if self._network is not None and not self._is_used:
            raise ValueError(
                "--network is for files of io.save that have weights alone: leave it out"
            )

    def _built(self, name: str) -> Any:
        build = function_of(name, "--network")
        try:
            network = build()
        except Exception as error:  # a builder raises anything
            raise ValueError(
                f"--network: {name}() fails ({type(error).__name__}: {one_line(error)})"
            ) from error
        if not hasattr(network, "load_state_dict"):
            raise ValueError(
                f"--network: {name} returns a {type(network).__name__}, wanted a torch.nn.Module"
            )
        return network


def function_of(name: str, option: str) -> Callable[..., Any]:
    """Return a function by name; one of a file travels to workers with its code.

    Parameters
    ----------
    name : str
        "package.module:function" or "path/to/file.py:function".
    option : str
        Of the command line, for errors.

    Returns
    -------
    callable
        The function.

    Raises
    ------
    ValueError
        If there is none of that name, or its module cannot be imported.
    """
    home, colon, function = name.rpartition(":")
    if not colon:
        raise ValueError(
            f"{option} must be package.module:function or path/to/file.py:function, got {name!r}"
        )
    try:
        module = _module_of_file(Path(home)) if home.endswith(".py") else import_module(home)
    except Exception as error:  # what is imported raises anything
        raise ValueError(
            f"{option}: {home} cannot be imported ({type(error).__name__}: {one_line(error)})"
        ) from error
    if not hasattr(module, function):
        raise ValueError(f"{option}: {home} has no {function}")
    return getattr(module, function)


def _module_of_file(path: Path) -> ModuleType:
    spec = spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(f"there is no Python file {path}")
    module = sys.modules[path.stem] = module_from_spec(spec)
    spec.loader.exec_module(module)
    cloudpickle.register_pickle_by_value(module)
    return module
