"""ImageNet's pictures as a network sees them: cropped, before its normalisation."""

import numpy as np
from joblib import Parallel, delayed
from sklearn.utils import Bunch

from sklearn_densconf.datasets import load_imagenet
from sklearn_densconf.evaluation._pictures import Pictures
from sklearn_densconf.paper._backbone import Backbone
from sklearn_densconf.paper._data import Dataset, Folder

_CHUNK = 250  # pictures of 224 x 224 x 3 bytes: 38 MB


def load_cropped_imagenet(
    folder: Folder, backbone: Backbone, *, links_outside: bool = False
) -> tuple[Dataset, np.ndarray]:
    """Return the pictures of ILSVRC2012, or of a subset of its classes, and the logits they need.

    ``folder`` holds ``train`` and ``val``; the network has 1000 logits, or one for each class in
    the folder, in their order. Pictures are uint8, cropped as the network's preprocessing does it;
    labels count the classes that are there, and the second result, int64 of shape (n_classes,),
    says which logits are theirs. Links that lead out of the folder are followed if asked.
    """
    train, val = (
        load_imagenet(folder, split=split, links_outside=links_outside)
        for split in ("train", "val")
    )
    present = np.unique(train.y)
    if not np.array_equal(present, np.unique(val.y)):
        n_common = len(np.intersect1d(present, val.y))
        raise ValueError(
            f"{folder}: train has {len(present)} classes, val {len(np.unique(val.y))}, both "
            f"{n_common}: remove the folders of the classes that are in one of them only"
        )
    outputs = _matching_outputs(backbone.n_outputs, present, len(train.classes))
    fitted, held_out = (_as_pictures(part, present, backbone) for part in (train, val))
    return Dataset("imagenet", fitted, held_out, train.classes[present].tolist()), outputs


def _matching_outputs(n_outputs: int, present: np.ndarray, n_classes: int) -> np.ndarray:
    if n_outputs == n_classes:
        return present
    if n_outputs == len(present):
        return np.arange(n_outputs)
    raise ValueError(
        f"the backbone has {n_outputs} classes and the folder {len(present)}: give a --backbone "
        f"with the {n_classes} classes of ImageNet, or with those {len(present)}"
    )


def _as_pictures(part: Bunch, present: np.ndarray, backbone: Backbone) -> Pictures:
    paths, crop = np.array(part.paths), delayed(backbone.crop)

    def read(indices: np.ndarray) -> np.ndarray:
        return np.stack(Parallel(-1, prefer="threads")(crop(path) for path in paths[indices]))

    return Pictures(np.searchsorted(present, part.y), read, _CHUNK)
