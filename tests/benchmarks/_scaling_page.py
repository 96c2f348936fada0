"""docs/scaling.md: what was measured, and from it a cost model on paper for two large jobs.

The words are in ``scaling.md.in``. What cannot be measured on the machine of the benchmarks is
assumed, and said to be.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

Rows = list[dict[str, Any]]

NETWORK_FLOPS = (
    50e12  # assumed: what one data-centre GPU sustains in VGG-16's convolutions, a second
)
GPU_DOUBLES = 20e12  # assumed: of the same, in float64 products of matrices
PCI = 25e9  # assumed: bytes a second from host to device
NET = 1e9  # assumed: bytes a second between two machines
ILSVRC_BYTES = 138e9  # published size of ILSVRC2012's training archive
MEMORY = 80e9  # assumed: bytes of memory of one GPU
FLOAT32, FLOAT64 = 4, 8

_TEMPLATE = Path(__file__).with_name("scaling.md.in")


@dataclass(frozen=True)
class Job:
    """A large job: n pictures, d features, k classes, so many GPUs, and bytes of a file."""

    name: str
    n: float
    d: float
    k: float
    gpus: int
    file_bytes: float

    @property
    def state(self) -> float:
        """Bytes of the state of a fit."""
        return 2 * FLOAT64 * self.k * self.d

    @property
    def scoring(self) -> float:
        """Operations of the density on one picture: two products."""
        return 4 * self.d * self.k


def scaling_page(topics: dict[str, Any]) -> str:
    """Give the page, from the benchmarks' rows.

    Parameters
    ----------
    topics : dict of str to dict
        Topics of ``docs/benchmarks.json``; "scaling" and "distributed" are read.

    Returns
    -------
    str
        Markdown.
    """
    scaling, workers = topics["scaling"]["rows"], topics["distributed"]["rows"]
    exponents = [row for row in scaling if row["name"].startswith("exponent")]
    constants = [row for row in scaling if row not in exponents]
    measured = {row["name"]: row["ratio"] for row in constants}
    one = Job("ILSVRC2012, VGG-16, logits, one GPU", 1.28e6, 1e3, 1e3, 1, ILSVRC_BYTES / 1.28e6)
    many = Job("10⁹ pictures, 10⁵ classes, hidden layer, 64 GPUs", 1e9, 4096, 1e5, 64, 110e3)
    logits = Job("", 1e9, 1e5, 1e5, 64, 110e3)
    vgg = measured["operations of VGG-16"] * 1e9
    rate = NETWORK_FLOPS / vgg
    decoded = measured["JPEG pictures decoded, resized and cropped to 224 px"]
    merge_ns = measured["time of merge over d k"]
    return _TEMPLATE.read_text(encoding="utf-8").format(
        exponents=_table(exponents),
        constants=_table(constants),
        workers=_table(workers),
        network=NETWORK_FLOPS / 1e12,
        doubles=GPU_DOUBLES / 1e12,
        memory=MEMORY / 1e9,
        pci=PCI / 1e9,
        net=NET / 1e9,
        jobs=_jobs([one, many], vgg, decoded, measured["time of partial_fit over n d"]),
        decode_cores=rate / decoded,
        rate=rate,
        file_kb=measured["bytes of a JPEG picture, mean"] / 1e3,
        ilsvrc_kb=one.file_bytes / 1e3,
        share=one.scoring / GPU_DOUBLES / (vgg / NETWORK_FLOPS),
        logit_state=logits.state / 1e9,
        logit_flops=logits.scoring / 1e9,
        vgg=vgg / 1e9,
        hidden_state=many.state / 1e9,
        hidden_flops=many.scoring / 1e9,
        full_state=FLOAT64 * many.k * many.d**2 / 1e12,
        result=FLOAT32 * many.n * many.k / 1e12,
        confidence=FLOAT32 * many.n / 1e9,
        workers_n=many.gpus,
        merge_s=many.gpus * many.state / NET,
        merge_cpu=many.gpus * merge_ns * 1e-9 * many.k * many.d,
    )


def _jobs(jobs: list[Job], vgg: float, decoded: float, fit_ns: float) -> str:
    """Set the table of the jobs: bytes of state, bytes moved, seconds."""
    rows = {
        "pictures n, features d, classes k": lambda j: f"{j.n:.3g}, {j.d:,.0f}, {j.k:,.0f}",
        "state": lambda j: _bytes(j.state),
        "files read": lambda j: _bytes(j.n * j.file_bytes),
        "pixels to the GPUs (float32, 224 px)": lambda j: _bytes(j.n * 3 * 224**2 * FLOAT32),
        "features, if they are kept (float32)": lambda j: _bytes(j.n * j.d * FLOAT32),
        "states moved, one per GPU": lambda j: _bytes(j.gpus * j.state),
        "decoding, core hours": lambda j: f"{j.n / decoded / 3600:,.1f}",
        "network": lambda j: _time(j.n * vgg / NETWORK_FLOPS / j.gpus),
        "copies to the GPU": lambda j: _time(j.n * 3 * 224**2 * FLOAT32 / PCI / j.gpus),
        "fit of the density, one core per GPU": lambda j: _time(j.n * j.d * fit_ns * 1e-9 / j.gpus),
        "scoring, on the GPU": lambda j: _time(j.n * j.scoring / GPU_DOUBLES / j.gpus),
    }
    lines = ["| " + " | ".join(["quantity", *(job.name for job in jobs)]) + " |"]
    lines += ["| --- " + "| ---: " * len(jobs) + "|"]
    lines += ["| " + " | ".join([name, *map(of, jobs)]) + " |" for name, of in rows.items()]
    return "\n".join(lines)


def _table(rows: Rows) -> str:
    lines = ["| what | at | figure | smallest – largest |", "| --- | --- | ---: | ---: |"]
    for row in rows:
        spread = f"{row['low']:.3g} – {row['high']:.3g}"
        figure = f"{row['ratio']:.3g} {row['unit']}"
        lines.append(f"| {row['name']} | {row['size']} | {figure} | {spread} |")
    return "\n".join(lines)


def _bytes(number: float) -> str:
    for size, unit in ((1e15, "PB"), (1e12, "TB"), (1e9, "GB")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number / 1e6:.3g} MB"


def _time(seconds: float) -> str:
    return f"{seconds / 3600:.3g} h" if seconds >= 3600 else f"{seconds:.3g} s"
