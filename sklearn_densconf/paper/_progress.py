"""Progress on the terminal, where tqdm is installed. A leaf: imports nothing of this package."""

from collections.abc import Iterable
from typing import TypeVar

Item = TypeVar("Item")


def track(steps: Iterable[Item], total: int, description: str) -> Iterable[Item]:
    """Give the steps of long work, with a bar on stderr if that is a terminal.

    Parameters
    ----------
    steps : iterable
        The steps.
    total : int
        How many there are.
    description : str
        What is done.

    Returns
    -------
    iterable
        The same steps.
    """
    try:
        from tqdm import tqdm
    except ImportError:
        return steps
    return tqdm(steps, description, total, leave=False, disable=None)
