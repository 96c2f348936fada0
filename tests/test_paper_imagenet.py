"""The reproduction on ImageNet: any network, taken apart into cropping and normalisation."""

import json
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

pytest.importorskip("PIL")
pytest.importorskip("skorch")
pytest.importorskip("matplotlib")

from PIL import Image

from sklearn_densconf.paper.__main__ import main
from sklearn_densconf.paper._backbone import load_backbone
from sklearn_densconf.paper._imagenet import load_cropped_imagenet

WNIDS = ("n01440764", "n02102040", "n02086240")
TOY = """
import numpy as np, torch

def preprocess(picture):
    pixels = np.asarray(picture.resize((8, 8)), np.float32)
    return (torch.from_numpy(pixels).permute(2, 0, 1) / 255){twist}

def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, {n_classes}))
"""


def _toy(folder: Path, n_classes: int, twist: str = "", name: str = "toy_network") -> str:
    path = folder / f"{name}_{n_classes}.py"
    path.write_text(TOY.format(n_classes=n_classes, twist=twist))
    return f"{path}:network"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Folder of two classes of made-up pictures: 3 to train on and 2 to validate with, each."""
    draw = np.random.default_rng(0)
    for k, wnid in enumerate(WNIDS[:2]):
        for split, n in (("train", 3), ("val", 2)):
            folder = tmp_path / "pictures" / split / wnid
            folder.mkdir(parents=True)
            for i in range(n):
                pixels = draw.integers(100 * k, 100 * k + 150, (12, 16, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    return tmp_path / "pictures"


@pytest.fixture(scope="module")
def few_pictures(imagenet_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of three real classes: 4 pictures to train on and 2 to validate with, each."""
    few = tmp_path_factory.mktemp("few")
    for split, n in (("train", 4), ("val", 2)):
        for wnid in WNIDS:
            (few / split / wnid).mkdir(parents=True)
            for path in sorted(imagenet_folder.glob(f"*/{split}/{wnid}/*.JPEG"))[:n]:
                shutil.copyfile(path, few / split / wnid / path.name)
    return few


def _real(data_folder: Path) -> str:
    return f"{data_folder.parent / 'imagenet_net.py'}:mobilenet_v2"


def test_cropped_pixels_behind_the_normalisation_are_what_the_network_saw(
    data_folder: Path, few_pictures: Path, imagenet_net: ModuleType
) -> None:
    backbone = load_backbone(_real(data_folder))
    assert backbone.n_outputs == 1000
    path = str(next(few_pictures.glob("val/*/*.JPEG")))
    crop = backbone.crop(path)
    assert crop.dtype == np.uint8
    assert crop.shape == (3, 224, 224)
    direct = imagenet_net.preprocess(path)[None]
    chosen = [0, 217, 999]
    with torch.inference_mode():
        ours = backbone.on_pixels(chosen)(torch.from_numpy(crop)[None] / 255)
        theirs = imagenet_net.mobilenet_v2(classes=chosen)(direct)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_a_handful_of_real_pictures_gives_every_figure(
    data_folder: Path, few_pictures: Path, tmp_path: Path
) -> None:
    arguments = ["--dataset", "imagenet", "--data", str(few_pictures), "--quick"]
    arguments += ["--backbone", _real(data_folder), "--attacked", "2"]
    assert main(["all", *arguments, "--out", str(tmp_path)]) == 0
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert results["settings"]["backbone"] == "imagenet_net.py:mobilenet_v2"
    assert (results["n_classes"], results["n_train"], results["n_test"]) == (3, 12, 6)
    measured = results["runs"][0]
    assert measured["clean"]["accuracy"][0] >= 5 / 6
    assert set(measured["figure4"]) == {"noise", "blur", "JPEG"}
    assert measured["figure4"]["JPEG"]["severity"] == [100, 20, 1]
    assert measured["table1"]["n"] == 2
    assert measured["table1"]["fooled"] == 1
    assert {path.stem for path in tmp_path.glob("*.svg")} == {
        "figure1",
        "figure4",
        "figure5",
        "table1",
    }
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "mobilenet_v2 on ImageNet · 3 classes · 6 held-out pictures" in page
    assert page.count("data:image/jpeg") > 10


def test_a_network_of_those_classes_alone_is_taken_as_it_is(pictures: Path, tmp_path: Path) -> None:
    backbone = load_backbone(_toy(tmp_path, 2))
    dataset, outputs = load_cropped_imagenet(pictures, backbone)
    assert outputs.tolist() == [0, 1]
    assert dataset.train.y.tolist() == [0, 0, 0, 1, 1, 1]
    assert list(dataset.classes) == list(WNIDS[:2])
    first = Image.open(pictures / "train" / WNIDS[0] / "0.png").resize((8, 8))
    np.testing.assert_array_equal(
        dataset.train.read(np.array([0]))[0], np.asarray(first).transpose(2, 0, 1)
    )


def test_links_that_lead_out_of_the_folder_are_followed_if_asked(
    pictures: Path, tmp_path: Path
) -> None:
    subset = tmp_path / "subset"
    for path in pictures.rglob("*.png"):
        link = subset / path.relative_to(pictures)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)
    words = ["figure1", "--dataset", "imagenet", "--data", subset, "--backbone", _toy(tmp_path, 2)]
    words += ["--quick", "--out", tmp_path / "out"]
    with pytest.warns(UserWarning, match="lead out of the folder"):
        assert main(list(map(str, words))) == 2
    assert main([*map(str, words), "--links-outside"]) == 0
    assert json.loads((tmp_path / "out" / "results.json").read_text())["n_train"] == 6


def test_a_module_that_can_be_imported_is_a_backbone_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = Path(_toy(tmp_path, 4, name="importable").partition(":")[0]).stem
    monkeypatch.syspath_prepend(tmp_path)
    assert load_backbone(f"{name}:network").n_outputs == 4


def _refused(capsys: pytest.CaptureFixture[str], out: Path, *arguments: object) -> str:
    words = ["all", "--dataset", "imagenet", *map(str, arguments), "--out", str(out)]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert not out.exists()
    return said


def test_a_backbone_with_other_classes_is_refused(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = _refused(capsys, tmp_path / "out", "--data", pictures, "--backbone", _toy(tmp_path, 5))
    assert (
        "the backbone has 5 classes and the folder 2: give a --backbone with the 1000 classes of "
        "ImageNet, or with those 2" in said
    )


def test_a_folder_without_pictures_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "train" / WNIDS[0]).mkdir(parents=True)
    said = _refused(capsys, tmp_path / "out", "--data", tmp_path, "--backbone", _toy(tmp_path, 2))
    assert "has no pictures: expected" in said


def test_a_class_with_one_picture_is_refused(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("1.png", "2.png"):
        (pictures / "train" / WNIDS[0] / name).unlink()
    said = _refused(capsys, tmp_path / "out", "--data", pictures, "--backbone", _toy(tmp_path, 2))
    assert re.search(rf"fewer than 2 pictures in 1 of its classes: {WNIDS[0]} \(1\); add", said)


def test_different_classes_in_train_and_val_are_refused(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "val" / WNIDS[1]).rename(pictures / "val" / WNIDS[2])
    said = _refused(capsys, tmp_path / "out", "--data", pictures, "--backbone", _toy(tmp_path, 2))
    assert "train has 2 classes, val 2, both 1: remove the folders" in said


def test_a_damaged_picture_is_named(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = pictures / "val" / WNIDS[1] / "1.png"
    damaged.write_bytes(damaged.read_bytes()[:60])
    words = ["figure1", "--dataset", "imagenet", "--data", pictures, "--out", tmp_path / "out"]
    assert main([*map(str, words), "--backbone", _toy(tmp_path, 2)]) == 2
    assert f"cannot decode the picture {damaged}" in capsys.readouterr().err
    assert not (tmp_path / "out" / "results.json").exists()


def test_severities_outside_their_range_are_refused(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--data", pictures, "--backbone", _toy(tmp_path, 2)]
    said = _refused(capsys, tmp_path / "out", *where, "--jpeg", 100, 0)
    assert "--jpeg 0: quality must lie in [1, 100]" in said
    said = _refused(capsys, tmp_path / "out", *where, "--noise", 0, 256)
    assert "--noise 256: sigma must lie in [0, 255]" in said


def test_wrong_backbones_are_refused(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toy = _toy(tmp_path, 2)
    wrong = {
        "vgg16": "--backbone must be torchvision:NAME, timm:NAME, package.module:function or",
        f"{tmp_path}/none.py:network": "there is no Python file",
        toy.replace(":network", ":other"): "has no other; define it there",
        "no_such_module_anywhere:network": "No module named 'no_such_module_anywhere'",
        _toy(tmp_path, 2, ".square()"): "is not a crop followed by a normalisation",
    }
    for name, message in wrong.items():
        said = _refused(capsys, tmp_path / "out", "--data", pictures, "--backbone", name)
        assert message in said
    (tmp_path / "bare.py").write_text("def network(): ...")
    bare = f"{tmp_path}/bare.py:network"
    said = _refused(capsys, tmp_path / "out", "--data", pictures, "--backbone", bare)
    assert "has no preprocess; define it there" in said


def test_a_missing_torchvision_is_named_with_its_cure(
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.delitem(sys.modules, "torchvision.models", raising=False)
    said = _refused(capsys, tmp_path / "out", "--data", pictures)
    assert "backbone 'torchvision:vgg16' needs torchvision" in said
    assert "pip install 'sklearn_densconf[torchvision]'" in said


def test_weights_that_cannot_be_fetched_are_named_with_the_cure(
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("torchvision")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens: no network is asked
    monkeypatch.delenv("no_proxy", raising=False)
    said = _refused(
        capsys, tmp_path / "out", "--data", pictures, "--backbone", "torchvision:squeezenet1_1"
    )
    assert "backbone 'torchvision:squeezenet1_1' could not load its weights" in said
    assert "set TORCH_HOME or HF_HOME to a folder that has them" in said


@pytest.mark.slow
def test_vgg16_runs_as_in_the_paper_up_to_its_weights(few_pictures: Path) -> None:
    """Architecture by name, its weights entry's preprocessing, 224 pixels, 1000 logits."""
    models = pytest.importorskip("torchvision.models")
    backbone = load_backbone("torchvision:vgg16?weights=none")
    assert type(backbone.network) is models.VGG
    assert sum(p.numel() for p in backbone.network.parameters()) == 138_357_544
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(backbone.black, -mean / std)
    torch.testing.assert_close(backbone.white, (1 - mean) / std)
    dataset, outputs = load_cropped_imagenet(few_pictures, backbone)
    assert outputs.tolist() == [0, 155, 217]
    pixels = dataset.test.read(np.arange(2))
    assert pixels.shape == (2, 3, 224, 224)
    entry = models.get_model_weights("vgg16").DEFAULT.transforms()
    picture = Image.open(sorted(few_pictures.glob(f"val/{WNIDS[0]}/*"))[0]).convert("RGB")
    normalised = backbone.on_pixels(range(1000))
    with torch.inference_mode():
        ours = normalised(torch.from_numpy(pixels) / 255)
        theirs = backbone.network(entry(picture)[None])
    assert ours.shape == (2, 1000)
    torch.testing.assert_close(ours[:1], theirs, atol=1e-3, rtol=1e-3)
