"""Choice of the device, made when it is used. A leaf: imports nothing of this package."""

import torch

OutOfMemoryError = torch.cuda.OutOfMemoryError  # torch.OutOfMemoryError since torch 2.5


def choose_device(name: str) -> torch.device:
    """Return the device to compute on, after a check that it is there.

    Parameters
    ----------
    name : str
        "auto" (the first of CUDA, MPS and CPU that is there) or a name that torch knows.

    Returns
    -------
    torch.device
        A device of this machine.

    Raises
    ------
    ValueError
        If torch does not know the name, or this machine does not have the device.
    """
    if name == "cpu":
        return torch.device("cpu")
    there = available_devices()
    if name == "auto":
        return torch.device(there[0])
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device must be 'auto' or one of {there}, got {name!r}") from error
    if (str(device) if device.type == "cuda" else device.type) not in there:
        raise ValueError(
            f"device {name!r} is not there: this machine has {there}. "
            "Use device='auto' to take what there is"
        )
    return device


def available_devices() -> list[str]:
    """List this machine's devices, the fastest first."""
    devices = []
    if torch.cuda.is_available():
        devices += ["cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        devices.append("mps")
    return [*devices, "cpu"]
