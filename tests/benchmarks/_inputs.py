"""What several benchmarks read: the real data sets, the real network, and torchvision."""

import importlib.util
import os
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

DEFAULT_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
DATA = Path(os.environ.get("DENSCONF_DATA") or DEFAULT_DATA)


@cache
def imagenet_net() -> ModuleType:
    """Give the reader of the real ImageNet network."""
    spec = importlib.util.spec_from_file_location("imagenet_net", DATA.parent / "imagenet_net.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def torchvision() -> ModuleType:
    """Give torchvision, repaired where torch is a CPU build."""
    try:
        import torchvision
    except RuntimeError:
        import_module("tests.conftest")  # repairs it
        import torchvision
    return torchvision
