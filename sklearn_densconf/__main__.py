"""The command ``python -m sklearn_densconf``."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

_DESCRIPTION = """\
Confidences of deep classifiers that fall when they should.

  score     score pictures with a model from a file: a table of label, confidence, known and score
  compare   compare softmax, open-set, densities and the detectors of pytorch-ood on one network:
            which find errors, are calibrated, and find out-of-distribution pictures
  report    measure your own fitted models on your labelled pictures: what each loses, and a page

"COMMAND --help" says more of each. The paper's figures: python -m sklearn_densconf.paper --help
"""
_COMPARE = """\
Compare confidences on the same network and the same features.

Confidences are fitted to the training pictures, calibrated on one half of the held-out pictures and
measured on the other: errors on clean, noisy, blurred, compressed, shrunk, brighter and darker
pictures; out-of-distribution pictures; adversarial ones; seconds and bytes.
"""
_COMPARE_MORE = """\
examples:
  python -m sklearn_densconf compare                       digits, three trainings: minutes
  python -m sklearn_densconf compare --quick               a few pictures: to try the command
  python -m sklearn_densconf compare --dataset mnist --data FOLDER --unknown FASHION
  python -m sklearn_densconf compare --dataset imagenet --data FOLDER --backbone timm:NAME

It writes report.html, results.json and figures to --out, together at the end. Networks, features,
attacks and numbers are kept in OUT/cache: the same command goes on from what is done.

exit codes: 0; 2 where the input is wrong, which one line on stderr explains; 130 if interrupted
"""

_SCORE = """\
Score pictures with a model from a file, and write a table.

MODEL   a pipeline that joblib or sklearn_densconf.io.save wrote, or the file of export.to_onnx.
        A joblib file runs code when it is loaded: take only what you trust. One of io.save runs
        what --allow-code and --network name, and nothing else.
INPUT   a folder and all that is below it; pictures; a text file with one path per line; or
        a pattern in quotes, such as "photos/**/*.jpg"
"""
_SCORE_MORE = """\
examples:
  python -m sklearn_densconf score pipe.joblib photos --out scores.csv
  python -m sklearn_densconf score model.onnx photos --out scores.parquet --jobs 4
  python -m sklearn_densconf score model.onnx list.txt "more/*.png" --out scores.csv --skip-broken
  python -m sklearn_densconf score model.onnx photos --out scores.csv --preprocessing crop.py:crop
  python -m sklearn_densconf score pipe.joblib photos --out scores.parquet --dask tcp://host:8786
  python -m sklearn_densconf score pipe.densconf photos --out scores.csv --network nets.py:lenet

columns:
  path         as INPUT gives it
  label        of the class that the model finds most likely
  confidence   the probability of that label
  known        the probability that the picture is like the training pictures, where the model
               tells it
  score        how familiar it is (score_samples), where the model tells it
  reason       why it could not be read, with --skip-broken; else the first such picture ends the
               run, and its path is named

The table is there whole or not at all. Meanwhile finished parts are in OUT.parts: after a kill, the
same command goes on from there. A table in Parquet needs pip install 'sklearn_densconf[score]'.

exit codes: 0; 2 where the input is wrong, a picture cannot be read or the disk is full, which one
line on stderr explains; 130 if interrupted
"""

_REPORT = """\
Measure how far to trust the confidences of your own models, on labelled pictures, and write a page.

MODEL   as "score" takes it: what joblib or sklearn_densconf.io.save wrote, or the file of
        export.to_onnx; or NAME=MODEL. The usual confidence, softmax for instance, comes first.
INPUT   pictures that no model was fitted to: a folder with a folder for each class, or a table,
        .csv or .parquet, with the columns path and label
"""
_REPORT_MORE = """\
examples:
  python -m sklearn_densconf report softmax.joblib openset.joblib held_out --out report
  python -m sklearn_densconf report a=1.onnx b=2.onnx labels.csv --out report --unknown textures
  python -m sklearn_densconf report pipe.densconf held_out --out report --network nets.py:lenet

It measures errors found and calibration on the pictures as they are, with noise, blur and JPEG,
and on pictures that are out of distribution. It prints what each model loses, then all tables, and
writes report.html, results.json and figures to OUT, together at the end. Features are kept in
OUT/cache: the same command goes on from what is done.

Labels are matched to the model's by name. Where the model's are 0, 1, ... and the folders have
other names, they are the numbers of the sorted folders, as load_image_folder gives them.

exit codes: 0; 2 where the input is wrong, a picture cannot be read or the disk is full, which one
line on stderr explains; 130 if interrupted
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for, and return its exit code.

    0; or 2 where the input is wrong, which one line on stderr then explains; 130 if interrupted.
    """
    options = vars(_parser().parse_args(arguments))
    command = options.pop("command")
    try:
        path = command(**options)
    except (ImportError, OSError, ValueError) as error:
        words = [str(error), *getattr(error, "__notes__", [])]
        print(f"error: {' '.join(' '.join(words).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from what is done", file=sys.stderr)
        return 130
    print(path)
    return 0


def _compare(*, out: Path, page: Path | None, beside: Sequence[Path], **options: Any) -> Path:
    from sklearn_densconf.comparison._run import Question, compare

    return compare(Question(**options), out, page, beside)


def _score(**options: Any) -> Path:
    from sklearn_densconf.scoring._run import Job, score

    return score(Job(**options))


def _report(**options: Any) -> Path:
    from sklearn_densconf.scoring._report import Request, report

    place, told = report(Request(**options))
    print(told)
    return place


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sklearn_densconf",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s COMMAND ...",
    )
    commands = parser.add_subparsers(
        prog=parser.prog, required=True, metavar="COMMAND", help=argparse.SUPPRESS
    )
    _add_score(commands)
    _add_compare(commands)
    _add_report(commands)
    return parser


def _add_compare(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "compare",
        description=_COMPARE,
        epilog=_COMPARE_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=_compare)
    add = parser.add_argument
    add("--dataset", choices=("digits", "mnist", "imagenet"), default="digits",
        help="pictures; LeNet-5 is trained on the first two; default: digits")  # fmt: skip
    add("--data", type=Path, metavar="FOLDER",
        help="folder of MNIST's four files, or of train and val of ImageNet")  # fmt: skip
    add("--links-outside", action="store_true",
        help="of ImageNet: follow links that lead out of the folder")  # fmt: skip
    add("--backbone", metavar="NAME",
        help="ImageNet's network: torchvision:NAME, timm:NAME, package.module:function or "
        "path/to/file.py:function; default: torchvision:vgg16")  # fmt: skip
    add(
        "--layer",
        metavar="NAME",
        help="the layer of the features; default: what goes into the last linear layer",
    )
    add("--unknown", type=Path, nargs="+", default=(), metavar="FOLDER",
        help="out-of-distribution pictures: other data sets' t10k-images-idx3-ubyte")  # fmt: skip
    add("--out", type=Path, default=Path("comparison"), metavar="FOLDER",
        help="folder of the results; default: comparison")  # fmt: skip
    add("--page", type=Path, metavar="FILE", help="write the page in Markdown too")
    add("--beside", type=Path, nargs="+", default=(), metavar="RESULTS",
        help="results.json of earlier comparisons, to stand on that page too")  # fmt: skip
    add("--attacked", type=_positive, metavar="N", help="number of pictures to attack")
    add("--seeds", type=_positive, default=3, metavar="N",
        help="number of trainings, or of draws for a pretrained network; default: 3")  # fmt: skip
    add("--quick", action="store_true", help="few pictures and severities: to try the command")


def _add_score(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "score",
        usage="%(prog)s MODEL INPUT [INPUT ...] --out FILE [options]",
        description=_SCORE,
        epilog=_SCORE_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=_score)
    add = parser.add_argument
    add("model", type=Path, metavar="MODEL", help="file of the model")
    add("inputs", nargs="+", metavar="INPUT", help="what to score")
    add("--out", type=Path, required=True, metavar="FILE",
        help="the table, ending in .csv or .parquet; it must not be there")  # fmt: skip
    _add_reading(add)
    workers = parser.add_mutually_exclusive_group()
    workers.add_argument("--jobs", type=_workers, default=1, metavar="N",
        help="worker processes on this machine, -1 for one per core; default: 1")  # fmt: skip
    workers.add_argument("--dask", metavar="ADDRESS",
        help="of a Dask scheduler, whose workers see all files here")  # fmt: skip


def _add_report(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "report",
        usage="%(prog)s MODEL [MODEL ...] INPUT --out FOLDER [options]",
        description=_REPORT,
        epilog=_REPORT_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=_report)
    add = parser.add_argument
    add("models", nargs="+", metavar="MODEL", help="files of models")
    add("pictures", type=Path, metavar="INPUT", help="labelled pictures")
    add("--out", type=Path, required=True, metavar="FOLDER", help="folder of the report")
    add("--unknown", type=Path, nargs="+", default=(), metavar="FOLDER",
        help="out-of-distribution pictures, each folder with all that is below it")  # fmt: skip
    add("--cases", nargs="+", choices=("clean", "sweep", "strips", "unknown"), metavar="CASE",
        help="of clean, sweep (noise, blur, JPEG), strips, unknown; default: all")  # fmt: skip
    _add_reading(add)


def _add_reading(add: Callable[..., Any]) -> None:
    """Add how pictures and models are read."""
    add("--skip-broken", action="store_true",
        help="go on past pictures that cannot be read, and tell the reason")  # fmt: skip
    add("--preprocessing", metavar="NAME",
        help="for an ONNX file: package.module:function or path/to/file.py:function, from a "
        "PIL image to an array (c, h, w); default: pixels in [0, 1], as they are")  # fmt: skip
    add("--allow-code", action="append", default=[], metavar="NAME",
        help="a function, package.module:function, that a file of io.save may import and call; "
        "may be given again")  # fmt: skip
    add("--network", metavar="NAME",
        help="for a file of io.save that has weights alone: package.module:function or "
        "path/to/file.py:function, which builds the network")  # fmt: skip
    add("--quiet", action="store_true", help="show no progress")


def _workers(text: str) -> int:
    return -1 if text == "-1" else _positive(text)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return value


if __name__ == "__main__":
    sys.exit(main())
