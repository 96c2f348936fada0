"""Optional libraries, imported where they are used. A leaf: imports nothing of this package."""

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

_EXTRAS = {  # library -> the extra that installs it
    "PIL": "pictures",
    "array_api_compat": "array-api",
    "dask": "dask",
    "distributed": "dask",
    "huggingface_hub": "timm",
    "matplotlib": "plots",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "onnxscript": "onnx",
    "pyarrow": "score",
    "pytorch_ood": "compare",
    "safetensors": "timm",
    "skorch": "training",
    "timm": "timm",
    "torchvision": "torchvision",
    "tqdm": "progress",
}


def import_optional(module: str, purpose: str) -> ModuleType:
    """Import a module of an optional library, or say how to install it.

    Parameters
    ----------
    module : str
        Dotted name of the module, such as ``"PIL.Image"``.
    purpose : str
        What needs it, as the subject of the error's sentence.

    Returns
    -------
    module
        The imported module.

    Raises
    ------
    ImportError
        If the library is missing or broken; the message names the extra to install.
    """
    library = module.partition(".")[0]
    try:
        return import_module(module)
    except (
        ImportError,
        RuntimeError,
    ) as error:  # torchvision raises RuntimeError on a torch mismatch
        cure = f"Install it with: pip install 'sklearn_densconf[{_EXTRAS[library]}]'"
        if _is_installed(library):
            cure = (
                "It is installed, but does not load: reinstall it in the version that is made for "
                "the other libraries, torchvision's, for instance, for that of torch"
            )
        raise ImportError(
            f"{purpose} needs {library}, which could not be imported ({error}). {cure}"
        ) from error


def _is_installed(library: str) -> bool:
    try:
        return find_spec(library) is not None
    except ValueError:  # its place in sys.modules is taken by None
        return False
