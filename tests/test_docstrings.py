"""Every public docstring passes numpydoc's validation."""

import inspect
from dataclasses import is_dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name

import pytest
from numpydoc.validate import validate

MODULES = ["", ".features", ".metrics", ".displays", ".datasets", ".distortions", ".adversarial"]
MODULES += [".distributed", ".evaluation", ".io", ".monitoring"]
API = Path(__file__).parents[1] / "docs" / "api.rst"
# No extended summary, "See Also" or example is asked of a method; quotes and sections are ours.
IGNORED = {"ES01", "EX01", "SA01", "SA04", "GL01", "GL02", "GL03", "GL07", "RT02", "YD01"}


def _public_names():
    for suffix in MODULES:
        module = import_module(f"sklearn_densconf{suffix}")
        for name in module.__all__:
            value = getattr(module, name)
            if not callable(value):
                continue
            yield f"{module.__name__}.{name}"
            if inspect.isclass(value):
                yield from (f"{module.__name__}.{name}.{own}" for own in _methods(value))


def _methods(cls):
    """Public methods that this package defines, not scikit-learn."""
    for name, member in inspect.getmembers(cls, callable):
        if not name.startswith("_") and (getattr(member, "__module__", None) or "").startswith(
            "sklearn_densconf"
        ):
            yield name


@pytest.mark.parametrize("name", list(_public_names()))
def test_public_docstring_is_valid(name):
    result = validate(name)
    ignored = IGNORED | {"PR01"} if _is_record(name) else IGNORED
    if "Yields\n" in result["docstring"]:
        ignored = ignored | {"RT01"}
    assert [error for error in result["errors"] if error[0] not in ignored] == []


def _is_record(name):
    """Tell whether a name is a result's class: its fields are under Attributes."""
    value = resolve_name(name)
    return hasattr(value, "_fields") or is_dataclass(value)


@pytest.mark.parametrize("suffix", MODULES)
def test_every_name_in_all_exists(suffix):
    module = import_module(f"sklearn_densconf{suffix}")
    assert all(hasattr(module, name) for name in module.__all__)


@pytest.mark.parametrize("suffix", MODULES)
def test_every_public_name_is_in_the_api_reference(suffix):
    module = import_module(f"sklearn_densconf{suffix}")
    listed = {line.strip().rpartition(".")[2] for line in API.read_text().splitlines()}
    assert {name for name in module.__all__ if callable(getattr(module, name))} <= listed
