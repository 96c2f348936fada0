"""What is kept by content is found again exactly if all that code refers to is the same."""

import functools
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
import torch

from sklearn_densconf._fingerprint import fingerprint

HELPERS = """
    import functools
    SCALE = 2.0
    TABLE = {"a": [1, 2]}
    def scaled(X):
        return deeper(X) * SCALE
    def deeper(X):
        return X + 1
    @functools.lru_cache
    def cached(n):
        return n + 3
    class Settings:
        rate = 4
        names = ("x", "y")
"""
NETWORK = """
    import functools
    import torch
    import helpers
    import package.inner
    from helpers import scaled, cached
    LIMIT = 5.0

    def plain(X):
        return X * 6

    class Base(torch.nn.Module):
        steps = 7

        @staticmethod
        def fixed(X):
            return X - 8

        @classmethod
        def made(cls):
            return 9

        @property
        def rate(self):
            return 10

        @functools.cached_property
        def kept(self):
            return 11

    class Network(Base):
        def forward(self, X):
            import late
            X = scaled(X) + cached(1) + helpers.Settings.rate + helpers.TABLE["a"][0]
            parts = [plain(each) for each in X]
            return torch.stack(parts).clamp(max=LIMIT) + package.inner.shift(X) + late.last(X)
"""
INNER = """
    def shift(X):
        return X + 12
"""
LATE = """
    def last(X):
        return X + 13
"""
FILES = {"helpers.py": HELPERS, "network.py": NETWORK, "package/inner.py": INNER, "late.py": LATE}


PROCESS = """
import sys
sys.dont_write_bytecode = True
from sklearn_densconf.features import FrozenBackbone
for folder in sys.argv[1:]:
    for name in ("helpers", "late", "network", "package", "package.inner"):
        sys.modules.pop(name, None)
    sys.path[0] = folder
    from network import Network
    print(FrozenBackbone(Network()).fingerprint)
"""


def _written(folder, changed=("", "", "")):
    """Write the modules of a network, one of them changed, to a folder."""
    name, old, new = changed
    (folder / "package").mkdir(parents=True)
    (folder / "package" / "__init__.py").touch()
    for file, text in FILES.items():
        assert file != name or old in text
        content = text.replace(old, new) if file == name else text
        (folder / file).write_text(textwrap.dedent(content))
    return folder


CHANGED = {
    "a helper of another module": ("helpers.py", "X) * SCALE", "X) / SCALE"),
    "what that helper calls": ("helpers.py", "X + 1\n", "X + 2\n"),
    "a global number of another module": ("helpers.py", "SCALE = 2.0", "SCALE = 2.5"),
    "a global table": ("helpers.py", "[1, 2]", "[1, 3]"),
    "a cached function": ("helpers.py", "n + 3", "n + 4"),
    "a class attribute of another module": ("helpers.py", "rate = 4", "rate = 5"),
    "a global number": ("network.py", "LIMIT = 5.0", "LIMIT = 5.5"),
    "a function in a comprehension": ("network.py", "X * 6", "X * 7"),
    "a class attribute of a base": ("network.py", "steps = 7", "steps = 8"),
    "a static method": ("network.py", "X - 8", "X - 9"),
    "a class method": ("network.py", "return 9", "return 10"),
    "a property": ("network.py", "return 10", "return 12"),
    "a cached property": ("network.py", "return 11", "return 13"),
    "a module within a package": ("package/inner.py", "X + 12", "X + 11"),
    "a module that is imported late": ("late.py", "X + 13", "X + 12"),
}


SAME = {
    "nothing": ("", "", ""),
    "a comment": ("network.py", "LIMIT = 5.0", "LIMIT = 5.0  # more"),
    "lines": ("network.py", "LIMIT = 5.0", "\n\n    LIMIT = 5.0"),
    "what nobody refers to": ("helpers.py", "SCALE = 2.0", "SCALE, OTHER = 2.0, 3"),
    "a docstring of a module": ("late.py", "def last", "'Give the last.'\n    def last"),
}


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Return the fingerprints of the network and of all its changed forms, from one process."""
    folder = tmp_path_factory.mktemp("networks")
    changes = {**SAME, **CHANGED}
    folders = [
        str(_written(folder / str(number), changed))
        for number, changed in enumerate(changes.values())
    ]
    command = [sys.executable, "-W", "error", "-c", PROCESS, *folders]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(zip(changes, done.stdout.split(), strict=True))


@pytest.mark.parametrize("change", CHANGED)
def test_code_that_refers_to_something_changed_has_another_fingerprint(told, change):
    assert told[change] != told["nothing"]
    assert list(told.values()).count(told[change]) == 1


@pytest.mark.parametrize("change", SAME)
def test_what_does_not_change_what_is_computed_does_not_count(told, change):
    assert told[change] == told["nothing"]


def test_another_process_tells_the_same(told, tmp_path):
    command = [sys.executable, "-c", PROCESS, str(_written(tmp_path / "again"))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [told["nothing"]]


def test_a_global_that_is_set_in_this_process_counts(monkeypatch):
    before = fingerprint(_shifted)
    monkeypatch.setitem(globals(), "SHIFT", 2)
    assert fingerprint(_shifted) != before


SHIFT = 1
LOCK = threading.Lock()


def _shifted(X):
    return X + SHIFT


def _locked(X):
    with LOCK:
        return X


def _recursive(n):
    return n and _recursive(n - 1)


def test_what_cannot_be_told_is_said_once_by_name():
    with pytest.warns(UserWarning, match=r"code refers to 'LOCK', a lock .*content cannot be told"):
        first = fingerprint(_locked)
    assert fingerprint(_locked) == first  # a second warning would be an error


def test_code_that_refers_to_itself_has_a_fingerprint():
    assert fingerprint(_recursive) == fingerprint(_recursive)


def test_partial_functions_and_bound_methods_are_told_by_function_and_arguments():
    parts = [functools.partial(_shifted, 1), functools.partial(_shifted, 2), _shifted]
    parts += [np.float32(1).astype, torch.nn.ReLU().forward, torch.nn.GELU().forward]
    told = [fingerprint(part) for part in (parts[0], parts[1], parts[2], parts[4], parts[5])]
    assert len(set(told)) == 5


def test_libraries_are_told_by_name_and_version(monkeypatch):
    transforms = pytest.importorskip("torchvision.transforms")
    resize = transforms.Resize(3)
    before = fingerprint(resize)
    from sklearn_densconf import _fingerprint

    version = _fingerprint._version
    monkeypatch.setattr(_fingerprint, "_version", lambda name: version(name) + "1")
    assert fingerprint(resize) != before
    assert version("torch") == version("os") == version("test_fingerprint") == ""
    assert version("torchvision") != ""


def _hook(module, args, output):
    return output


def test_hooks_count_by_their_order_not_by_torchs_numbers():
    def made(*hooks):
        network = torch.nn.Linear(3, 2)
        torch.nn.init.zeros_(network.weight)
        torch.nn.init.zeros_(network.bias)
        for hook in hooks:
            network.register_forward_hook(hook)
        return fingerprint(network)

    assert made(_hook) == made(_hook)
    assert made(_hook, print) == made(_hook, print)
    assert made(_hook, print) != made(print, _hook)
    assert made() != made(_hook)
