"""Scores from a file that `export.to_onnx` wrote. It imports neither torch nor scikit-learn."""

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sklearn_densconf._machine import ahead
from sklearn_densconf._modes import converted, is_deep, mark_deep
from sklearn_densconf._optional import import_optional
from sklearn_densconf.scoring._shards import Scores

BATCH = 16  # pictures: large enough for the engine, and small enough for the cache
NEEDED = ("label", "probabilities")
_TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(uint8)": np.uint8}


class OnnxScorer:
    """A network and classifier in one file, run by onnxruntime.

    Parameters
    ----------
    file : Path
        What `export.to_onnx` wrote of a pipeline.
    preprocessing : callable or None
        From a picture of PIL to an array (c, h, w); None: pixels in [0, 1], of pictures that have
        the size that the network takes.
    n_threads : int
        Threads of the engine.

    Raises
    ------
    ValueError
        If onnxruntime refuses the file, or it has other inputs and outputs.
    """

    def __init__(self, file: Path, preprocessing: Callable[[Any], Any] | None, n_threads: int):
        self._name = str(file)
        self._content = np.fromfile(file, np.uint8)  # an array: workers map it from one file
        self._preprocessing = preprocessing
        self._n_threads = n_threads
        self._check()

    def __call__(self, paths: Sequence[str]) -> Scores:
        """Return the scores of pictures."""
        columns = self.outputs(paths)
        return Scores(
            self.classes[columns["label"]],
            columns["probabilities"].max(axis=1),
            columns.get("known"),
            columns.get("score"),
        )

    def outputs(self, pictures: Sequence[Any]) -> dict[str, np.ndarray]:
        """Return what the file gives.

        The next batch is decoded while one is in the network, if there are cores for both: where
        each worker has one, that takes 5 % more time of the processor.

        Parameters
        ----------
        pictures : sequence of path or picture of PIL
            Any number but none.

        Returns
        -------
        dict of str to ndarray
            "label", the number of the class, "probabilities", and "known" and "score" if it has
            them.

        Raises
        ------
        ValueError
            If a picture cannot be read, has another shape, or gives NaN.
        """
        batches = [pictures[start : start + BATCH] for start in range(0, len(pictures), BATCH)]
        names = self.gives
        input_name = self._session.get_inputs()[0].name
        if self._n_threads == 1:
            decoded: Iterable[np.ndarray] = map(self._batch, batches)
        else:
            decoded = ahead(self._batch, batches, n_threads=1, n_waiting=1)
        found = [self._session.run(names, {input_name: batch}) for batch in decoded]
        columns = dict(zip(names, map(np.concatenate, zip(*found, strict=True)), strict=True))
        if (wrong := np.flatnonzero(columns["label"] < 0)).size:
            raise ValueError(
                f"{pictures[wrong[0]]} gives NaN or infinite activations: look at that picture, or "
                "at the preprocessing"
            )
        return columns

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in _MADE_AGAIN}

    @cached_property
    def _session(self) -> Any:
        runtime = import_optional("onnxruntime", "a model of ONNX")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = self._n_threads
        options.log_severity_level = 3
        try:
            return runtime.InferenceSession(
                self._content.tobytes(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's own classes have no public name
            raise ValueError(
                f"onnxruntime {runtime.__version__} cannot read {self._name}: {error}. If a newer "
                "version wrote it, upgrade onnxruntime; else export it again"
            ) from error

    @property
    def gives(self) -> list[str]:
        """Names of what `outputs` returns."""
        return [each.name for each in self._session.get_outputs()]

    @cached_property
    def classes(self) -> np.ndarray:
        """Names of the classes."""
        metadata = self._session.get_modelmeta().custom_metadata_map
        return np.asarray(json.loads(metadata["classes"]))

    def _check(self) -> None:
        outputs = set(self.gives)
        metadata = self._session.get_modelmeta().custom_metadata_map
        inputs = self._session.get_inputs()
        if not outputs.issuperset(NEEDED) or "classes" not in metadata:
            raise ValueError(
                f"{self._name} has the outputs {sorted(outputs)}, wanted label, probabilities and "
                "names of classes: export.to_onnx writes such files"
            )
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type not in _TYPES:
            found = [(each.name, each.shape, each.type) for each in inputs]
            raise ValueError(
                f"{self._name} has the inputs {found}, wanted one of pictures (n, c, h, w): export "
                "the pipeline with its network, not the classifier alone"
            )

    def _batch(self, pictures: Sequence[Any]) -> np.ndarray:
        return np.stack([self._picture(each) for each in pictures])

    def _picture(self, path: Any) -> np.ndarray:
        about = self._session.get_inputs()[0]
        mode = "L" if about.shape[1] == 1 else "RGB"
        picture = _decoded(path, mode, or_deep=self._preprocessing is not None)
        if self._preprocessing is None:
            values = _plain(picture, about.type == "tensor(uint8)")
            cure = "give --preprocessing"
        else:
            try:
                values = np.asarray(self._preprocessing(picture))
            except Exception as error:
                error.add_note(f"This was while preprocessing {path}.")
                raise
            cure = "let the preprocessing bring all pictures to one size and mode"
        wanted = about.shape[1:]
        fits = len(values.shape) == 3 and all(
            not isinstance(size, int) or size == got
            for size, got in zip(wanted, values.shape, strict=True)
        )
        if not fits:
            raise ValueError(
                f"{path} becomes an array of shape {values.shape}, wanted {tuple(wanted)}: {cure}"
            )
        return values.astype(_TYPES[about.type], copy=False)


_MADE_AGAIN = ("_session", "classes")


def _decoded(path: Any, mode: str, *, or_deep: bool) -> Any:
    """Return a picture in a mode; one of more than 8 bits as it is, if that may be."""
    image = import_optional("PIL.Image", "Reading pictures")
    try:
        with nullcontext(path) if isinstance(path, image.Image) else image.open(path) as picture:
            mark_deep(picture)
            if or_deep and is_deep(picture):
                picture.load()
                return picture
            return converted(picture, mode)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"there is no picture {path!r}") from error
    except Exception as error:  # PIL raises many kinds on damaged files, and for bombs
        raise ValueError(f"cannot decode the picture {path!r}: {error}") from error


def _plain(picture: Any, as_bytes: bool) -> np.ndarray:
    pixels = np.asarray(picture)
    pixels = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
    return pixels if as_bytes else pixels.astype(np.float32) / np.float32(255)
