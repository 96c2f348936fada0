"""Progress on the terminal, where tqdm is installed. A leaf: imports nothing of this package."""

from collections.abc import Iterable
from typing import TypeVar

Item = TypeVar("Item")


def track(
    steps: Iterable[Item], total: int, description: str, verbose: bool = True
) -> Iterable[Item]:
    """Return the same steps of long work, with a bar on stderr if that is a terminal."""
    if not verbose:
        return steps
    try:
        from tqdm import tqdm
    except ImportError:
        return steps
    return tqdm(steps, description, total, leave=False, disable=None)
