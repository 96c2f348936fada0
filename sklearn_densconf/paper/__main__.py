"""The command ``python -m sklearn_densconf.paper``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sklearn_densconf.paper._demo import demonstrate


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one experiment of the paper.

    Parameters
    ----------
    arguments : sequence of str, default=None
        Those of the command line; None takes ``sys.argv``.

    Returns
    -------
    int
        Exit code: 0, or 2 where the input is bad, which one line on stderr then explains.
    """
    options = _parser().parse_args(arguments)
    try:
        demonstrate(options.data, options.out)
    except (ImportError, OSError, ValueError) as error:
        print(f"{' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sklearn_densconf.paper",
        description="Reproduce arXiv:1707.07013: confidence by density modelling.",
    )
    parser.add_argument("experiment", choices=["demo"], help="what to run")
    parser.add_argument("--data", type=Path, help="folder of the data set")
    parser.add_argument("--out", type=Path, default=Path("paper"), help="folder of the results")
    return parser


if __name__ == "__main__":
    sys.exit(main())
