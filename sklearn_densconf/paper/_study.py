"""What is studied: a data set, a network for it, and how it is distorted. All input is checked."""

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from torch import nn

from sklearn_densconf.distortions import gaussian_blur, gaussian_noise, jpeg
from sklearn_densconf.evaluation._pictures import Pictures
from sklearn_densconf.evaluation._sweeps import Sweep, every_other
from sklearn_densconf.paper._backbone import load_backbone
from sklearn_densconf.paper._data import (
    Dataset,
    in_memory_pixels,
    load_embedded_digits,
    load_original_mnist,
    load_strangers,
)
from sklearn_densconf.paper._imagenet import load_cropped_imagenet
from sklearn_densconf.paper._train import WEIGHT_DECAY, train_lenet5

VGG16 = "torchvision:vgg16"
_ATTACKED_WHERE_SLOW = 100  # pictures of ImageNet on a CPU
_QUICK = {"digits": (20, 5), "mnist": (20, 5), "imagenet": (4, 4)}  # pictures per class
Network = Callable[[Dataset, int, joblib.Memory], nn.Module]
Loaded = tuple[Dataset, str, Network]


_SMALL = {
    "noise": Sweep(
        gaussian_noise, tuple(i / 10 for i in range(11)), "Noise σ (pixels 0–1)", seeded=True
    ),
    "blur": Sweep(gaussian_blur, tuple(i / 5 for i in range(11)), "Blur σ (pixels)"),
}
SWEEPS = {
    "digits": _SMALL,
    "mnist": _SMALL,
    "imagenet": {
        "noise": Sweep(
            gaussian_noise, (0, 10, 20, 30, 40, 60, 80, 100), "Noise σ (of 255)", seeded=True
        ),
        "blur": Sweep(gaussian_blur, (0, 2, 4, 8, 12, 18, 24, 36), "Blur σ (pixels of 224)"),
        "JPEG": Sweep(jpeg, (100, 80, 60, 40, 20, 10, 5, 1), "JPEG quality", "quality"),
    },
}


@dataclass(frozen=True)
class Settings:
    """What the command line asks for."""

    experiment: str  # "all" or one of the experiments
    dataset: str = "digits"
    data: Path | None = None  # folder of the data set; the digits have none
    backbone: str = VGG16  # for ImageNet; the others have LeNet-5
    quick: bool = False  # a few pictures and severities only
    seeds: int = 1  # how many trainings, and seeds of the noise
    weight_decay: float = WEIGHT_DECAY  # of LeNet-5's training
    severities: dict[str, list[float]] | None = None  # those that are not the paper's
    attacked: int | None = None  # None takes all pictures, on ImageNet 100 if there is no GPU
    strangers: Path | None = None  # folder of out-of-distribution pictures in MNIST's format
    links_outside: bool = False  # whether ImageNet's links that lead out of its folder are followed

    def as_json(self) -> dict[str, Any]:
        """Return the settings as numbers and strings; of folders and files their names only."""
        plain = {k: v.name if isinstance(v, Path) else v for k, v in asdict(self).items()}
        return plain | {"backbone": re.sub(r"^.*[/\\](?=[^/\\]+\.py:)", "", self.backbone)}


@dataclass(frozen=True)
class Study:
    """Everything that the experiments need, loaded and checked."""

    dataset: Dataset
    network_name: str
    network: Network  # from the data set, a seed and a store to a trained network of pixels
    sweeps: dict[str, Sweep]
    attacked: Pictures
    strangers: Pictures | None


def load_study(settings: Settings) -> Study:
    """Load data and network, and check every input before anything long starts."""
    dataset, name, network = _LOADERS[settings.dataset](settings)
    dataset = _reduced(dataset) if settings.quick else dataset
    sweeps = _chosen_sweeps(settings, dataset.test.read(np.arange(1)))
    strangers = load_strangers(settings.strangers) if settings.strangers else None
    return Study(dataset, name, network, sweeps, _attacked(settings, dataset.test), strangers)


def _reduced(dataset: Dataset) -> Dataset:
    """Return the first pictures of each class: enough to try the command."""
    n_train, n_test = _QUICK[dataset.name]
    train, test = dataset.train, dataset.test
    return replace(
        dataset, train=train.first_of_each_class(n_train), test=test.first_of_each_class(n_test)
    )


def _digits(settings: Settings) -> Loaded:
    if settings.data is not None:
        raise ValueError("--data: the digits come with scikit-learn; leave it out, or take mnist")
    return _with_lenet5(load_embedded_digits(), settings)


def _mnist(settings: Settings) -> Loaded:
    return _with_lenet5(load_original_mnist(_folder(settings)), settings)


def _imagenet(settings: Settings) -> Loaded:
    folder = _folder(settings)
    backbone = load_backbone(settings.backbone)
    dataset, outputs = load_cropped_imagenet(folder, backbone, links_outside=settings.links_outside)
    network = backbone.on_pixels(outputs.tolist())
    name = settings.backbone.rpartition(":")[2].partition("?")[0]
    return dataset, name, lambda *_: network  # it is trained already


_LOADERS = {"digits": _digits, "mnist": _mnist, "imagenet": _imagenet}


def _folder(settings: Settings) -> Path:
    if settings.data is None:
        raise ValueError(f"--dataset {settings.dataset} needs --data FOLDER, where its files are")
    return settings.data


def _with_lenet5(dataset: Dataset, settings: Settings) -> Loaded:
    def train(dataset: Dataset, seed: int, memory: joblib.Memory) -> nn.Module:
        X, y = in_memory_pixels(dataset.train), dataset.train.y
        options = {"epochs": dataset.epochs, "weight_decay": settings.weight_decay, "seed": seed}
        return memory.cache(train_lenet5, verbose=0)(X, y, **options)

    return dataset, "LeNet-5", train


def _chosen_sweeps(settings: Settings, picture: np.ndarray) -> dict[str, Sweep]:
    """Return the sweeps, with the user's severities; each is tried on one picture."""
    asked, sweeps = settings.severities or {}, SWEEPS[settings.dataset]
    unknown = sorted(set(asked) - set(sweeps))
    if unknown:
        raise ValueError(
            f"--{unknown[0].lower()}: --dataset {settings.dataset} is distorted by "
            f"{' and '.join(sweeps)} only; leave the option out"
        )
    for name, severities in asked.items():
        option = f"--{name.lower()}"
        sweeps = sweeps | {name: sweeps[name].with_severities(option, severities, picture)}
    if settings.quick:
        sweeps = {
            k: replace(v, severities=tuple(every_other(v.severities, 3))) for k, v in sweeps.items()
        }
    return sweeps


def _attacked(settings: Settings, pictures: Pictures) -> Pictures:
    """Return the pictures to attack."""
    slow = settings.dataset == "imagenet" and not torch.cuda.is_available()
    n = settings.attacked or min(len(pictures), _ATTACKED_WHERE_SLOW if slow else len(pictures))
    if n > len(pictures):
        raise ValueError(f"--attacked {n}: there are only {len(pictures)} pictures to attack")
    return pictures.spread(n)
