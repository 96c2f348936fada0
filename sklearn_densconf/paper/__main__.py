"""The command ``python -m sklearn_densconf.paper``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sklearn_densconf.paper._demo import demonstrate
from sklearn_densconf.paper._experiments import EXPERIMENTS
from sklearn_densconf.paper._run import reproduce
from sklearn_densconf.paper._study import SWEEPS, VGG16, Settings
from sklearn_densconf.paper._summary import summarise
from sklearn_densconf.paper._train import WEIGHT_DECAY

_DESCRIPTION = """\
Reproduce arXiv:1707.07013, "Confidence estimation in deep neural networks via density modelling".

  demo      a number to act on beside softmax and the paper's, on digits that get worse
  all       every figure and table of a data set, results.json and report.html
  figure1   scaled pixels (any data set)
  figure2   noise and blur, digits and MNIST;             figure3   single pictures of them
  figure4   noise, blur and JPEG, ImageNet;               figure5   single pictures of them
  table1    adversarial pictures (any data set)
  summary   one page of several results.json
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for, and return its exit code.

    0; or 2 where the input is bad, which one line on stderr then explains; 130 if interrupted.
    """
    options = vars(_parser().parse_args(arguments))
    command = options.pop("command")
    try:
        path = command(**options)
    except (ImportError, OSError, ValueError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from what is done", file=sys.stderr)
        return 130
    print(path)
    return 0


def _reproduce(*, out: Path, **options: Any) -> Path:
    severities = {name: options.pop(name.lower()) for name in SWEEPS["imagenet"]}
    given = {name: values for name, values in severities.items() if values is not None}
    return reproduce(Settings(severities=given, **options), out)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sklearn_densconf.paper",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="EXPERIMENT")
    _add_demo(commands.add_parser("demo"))
    _add_summary(commands.add_parser("summary"))
    for name in ("all", *EXPERIMENTS):
        _add_experiment(commands.add_parser(name), name)
    return parser


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=demonstrate)
    parser.add_argument("--data", type=Path, help="folder of MNIST's files; default: digits")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder of the figure")


def _add_summary(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=summarise)
    parser.add_argument("results", type=Path, nargs="+", help="results.json of each run")
    parser.add_argument("--out", type=Path, required=True, help="the page, a Markdown file")


def _add_experiment(parser: argparse.ArgumentParser, name: str) -> None:
    parser.set_defaults(command=_reproduce, experiment=name)
    add = parser.add_argument
    add("--dataset", choices=tuple(SWEEPS), default="digits")
    add("--data", type=Path, help="folder of MNIST's four files, or of train and val of ImageNet")
    add("--backbone", default=VGG16, metavar="NAME",
        help="ImageNet's network: torchvision:NAME, timm:NAME, package.module:function or "
        "path/to/file.py:function; default: %(default)s")  # fmt: skip
    add("--links-outside", action="store_true",
        help="of ImageNet: follow links that lead out of the folder")  # fmt: skip
    add("--out", type=Path, default=Path("paper"), help="folder of the results")
    add("--quick", action="store_true", help="few pictures and severities: to try the command")
    add("--seeds", type=_positive, default=1, metavar="N", help="number of trainings")
    add("--weight-decay", type=float, default=WEIGHT_DECAY, help="of LeNet-5's training")
    add("--attacked", type=_positive, metavar="N", help="number of pictures to attack")
    add("--unknown", "--strangers", type=Path, dest="strangers", metavar="FOLDER",
        help="out-of-distribution pictures: another data set's t10k-images-idx3-ubyte")  # fmt: skip
    for kind, sweep in SWEEPS["imagenet"].items():
        add(f"--{kind.lower()}", type=float, nargs="+", metavar="S", help=f"other {sweep.label}")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return value


if __name__ == "__main__":
    sys.exit(main())
