"""ONNX models, run by onnxruntime on the CPU. A leaf: knows nothing of networks."""

import os
from typing import Any

import numpy as np
import torch

from sklearn_densconf._optional import import_optional


class OnnxModel:
    """A model, and its session in this process. Several threads may run it.

    Parameters
    ----------
    content : bytes or str
        What is in its file, or its path.
    purpose : str
        What needs onnxruntime, as the subject of the error where it is missing.
    folder : str, default=""
        Where the files are that hold its weights, if it has any.
    """

    def __init__(self, content: Any, purpose: str, folder: str = "") -> None:
        self.content = content
        self._purpose = purpose
        self._folder = folder
        self._sessions: dict[tuple[int, int], Any] = {}

    def run(
        self, arrays: dict[str, np.ndarray], outputs: list[str] | None = None
    ) -> list[np.ndarray]:
        """Return some outputs, or all, for the inputs of one batch.

        Raises
        ------
        ValueError
            If the engine fails, as it does for a shape that the model was not made for.
        """
        session = self.session
        try:
            return session.run(outputs, arrays)
        except Exception as error:  # the engine's, which are its own and have no name
            shapes = {name: array.shape for name, array in arrays.items()}
            raise ValueError(f"onnxruntime fails on a batch {shapes}: {error}") from error

    @property
    def session(self) -> Any:
        """The session, with as many threads as torch has now, opened once a process.

        A process that was forked has none of the threads that its parent's session waits for; and
        each thread of Python may have another number of torch's.
        """
        wanted = os.getpid(), torch.get_num_threads()
        if wanted not in self._sessions:
            self._sessions[wanted] = self._open(wanted[1])
        return self._sessions[wanted]

    def _open(self, n_threads: int) -> Any:
        runtime = import_optional("onnxruntime", self._purpose)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = n_threads
        options.log_severity_level = 3  # errors: warnings are of what it optimises
        # Else its threads go on waiting busily, while the classifier computes.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        if self._folder:
            entry = "session.model_external_initializers_file_folder_path"
            options.add_session_config_entry(entry, self._folder)
        return runtime.InferenceSession(self.content, options, providers=["CPUExecutionProvider"])

    def __reduce__(self) -> tuple[Any, ...]:
        return OnnxModel, (self.content, self._purpose, self._folder)

    def __deepcopy__(self, memo: dict[int, Any]) -> "OnnxModel":
        return self
