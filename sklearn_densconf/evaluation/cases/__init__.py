"""The experiments, one file each: a module here that holds a `Case` named CASE is one."""

from importlib import import_module
from pkgutil import iter_modules

from sklearn_densconf.evaluation._case import Case


def load_cases() -> dict[str, Case]:
    """Return every case under its name, in the order of a report."""
    modules = [import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__)]
    cases: list[Case] = sorted((module.CASE for module in modules), key=lambda case: case.place)
    return {case.name: case for case in cases}
