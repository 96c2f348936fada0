"""What the tests share: where the real data is, and one repair of the test machine."""

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

os.environ.setdefault("SCIPY_ARRAY_API", "1")  # before scipy: else the array API checks are skipped

import matplotlib as mpl
import pytest
import torch

from sklearn_densconf.features import FrozenBackbone

mpl.use("Agg")
_KEPT_ALIVE = []


def _repair_torchvision() -> None:
    """Let PyPI's torchvision import beside a CPU build of torch, which lacks its operators."""
    if torch.version.cuda is not None:
        return
    try:
        import torchvision  # noqa: F401 - tried: is there anything to repair?
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _KEPT_ALIVE.append(library)


_repair_torchvision()


def unchanged(X: object) -> object:
    """Return what it is given."""
    return X


@pytest.fixture
def frozen_unchanged(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Assert that nothing wrote to the networks that were held during the test."""
    made: list[tuple[FrozenBackbone, list[bytes]]] = []
    begin = FrozenBackbone._begin

    def noted(frozen: FrozenBackbone) -> None:
        begin(frozen)
        made.append((frozen, [array.tobytes() for array in frozen._arrays]))

    monkeypatch.setattr(FrozenBackbone, "_begin", noted)
    yield
    for frozen, content in made:
        assert [array.tobytes() for array in frozen._arrays] == content


def _data_folder() -> Path | None:
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("DENSCONF_DATA") or default)
    return folder.resolve() if folder.is_dir() else None  # links to it must hold elsewhere


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Folder of the real data sets; tests that need it are skipped where there is none."""
    folder = _data_folder()
    if folder is None:
        pytest.skip("real data not found: set DENSCONF_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def mnist_folder(data_folder: Path) -> Path:
    """Folder of the four original MNIST IDX files."""
    return data_folder / "mnist"


@pytest.fixture(scope="session")
def imagenet_folder(data_folder: Path) -> Path:
    """Folder that holds the ImageNet pictures of 20 classes (imagenette224 and imagewoof320)."""
    return data_folder / "imagenet20"


@pytest.fixture(scope="session")
def imagenet_net(data_folder: Path) -> ModuleType:
    """Reader of the real ImageNet network: ``mobilenet_v2(classes)``, ``preprocess(picture)``."""
    path = data_folder.parent / "imagenet_net.py"
    spec = importlib.util.spec_from_file_location("imagenet_net", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def make_tree(tmp_path):
    """Make empty files at the given paths below a folder, and give the folder."""

    def make(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path

    return make
