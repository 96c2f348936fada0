"""The package as a whole: what importing it costs, what it names, which way its imports point."""

import subprocess
import sys

import architecture
import pytest
from architecture import imported, room

import sklearn_densconf

LEAVES = {leaf for row in architecture.LEAVES for leaf in row}
MAY_IMPORT = {  # part of the package -> parts that it may import, beside itself and the leaves
    "__init__": {"density", "features", "openset", "rejection"},  # for type checkers, on first use
    "__main__": {"comparison", "scoring"},
    "adversarial": {"features"},
    "baselines": {"density"},
    "comparison": {"__init__", "displays", "distortions", "evaluation", "features", "metrics"}
    | {"paper", "rejection"},
    "datasets": set(),
    "density": set(),
    "displays": {"metrics"},
    "distortions": set(),
    "distributed": {"features", "density"},
    "evaluation": {"__init__", "adversarial", "density", "displays", "distortions", "features"}
    | {"metrics", "openset"},
    "export": {"density", "features", "openset", "rejection"},
    "features": set(),
    "io": {"__init__", "density", "features"},
    "metrics": set(),
    "monitoring": set(),
    "openset": {"density"},
    "rejection": set(),
    "scoring": {"datasets", "distributed", "evaluation", "io"},
    "paper": {"adversarial", "baselines", "datasets", "density", "displays", "distortions"}
    | {"distributed", "evaluation", "features", "metrics", "openset", "__init__"},
}
USES_TORCH = {"adversarial", "comparison", "distributed", "evaluation", "export", "features"}
USES_TORCH |= {"io", "paper"}
SOURCES = sorted(architecture.ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(architecture.ROOT)))
def test_imports_point_one_way(path):
    part = room(path)
    allowed = LEAVES if part in LEAVES else LEAVES | MAY_IMPORT[part] | {part}
    assert {room(other) for other in architecture.files()[path]} <= allowed


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(architecture.ROOT)))
def test_no_private_name_of_scikit_learn_scipy_or_torch_is_imported(path):
    for module, name in imported(path):
        words = [*module.split("."), name]
        if words[0] in ("sklearn", "scipy", "torch"):
            assert not any(word.startswith("_") for word in words), f"{module}.{name}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(architecture.ROOT)))
def test_torch_is_imported_only_where_networks_are(path):
    if any(module.split(".")[0] == "torch" for module, _ in imported(path)):
        assert room(path) in USES_TORCH


def test_importing_the_package_imports_neither_torch_nor_matplotlib():
    code = "import sys, sklearn_densconf; print({'torch', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("name", ["GaussianDensityClassifier", "OpenSetClassifier"])
def test_the_classifiers_do_not_import_torch(name):
    code = f"import sys; from sklearn_densconf import {name}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_dir_lists_the_public_names():
    assert set(sklearn_densconf.__all__) <= set(dir(sklearn_densconf))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'Gauss'"):
        sklearn_densconf.Gauss  # noqa: B018 - the access is what raises
