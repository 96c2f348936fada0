"""All that was said and written before is said and read still: see golden.py, which keeps it.

How far numbers may move. Another CPU takes other kernels of BLAS, which sum in another order.

- float64 results: 1e-12 relative to max(1, |value|) (1e-13 was seen among three kernels);
- float32 results: two units in the last place of float32, since they are float64 results rounded;
- a mixture: 1e-10, as its EM is iterated (2e-11 was seen);
- features: 1e-5, as torch sums float32; what a density says of them: 1e-4;
- the report of the digits: 1e-4 where torch has AVX2 or more and no GPU (AVX2 and AVX-512 were
  seen to differ by 2e-6). Without AVX2, torch draws other random numbers: the network is another
  one, numbers differ by 0.2, and only what is not measured is held.
"""

import contextlib
import json
import shutil
import sys

import joblib
import numpy as np
import pytest
import torch

pytest.importorskip("skorch")
pytest.importorskip("matplotlib")

import golden
from golden import DATA, read_json
from networks import Convolutional
from sklearn.exceptions import InconsistentVersionWarning

from sklearn_densconf import io
from sklearn_densconf._files import is_sound

PREDICTIONS = read_json("predictions.json.gz")
DUMPED = read_json("dumped.json.gz")
KINDS = (*golden.TYPES, "other")
STORED = ("arrays", "paths", "images", "two layers", "preprocessed")
SAME_NETWORK = torch.backends.cpu.get_cpu_capability() != "DEFAULT" and not (
    torch.cuda.is_available() or torch.backends.mps.is_available()
)
NOT_MEASURED = {"severity", "factor", "n", "seed", "distortion", "symbol"}


def assert_alike(actual, kept, tolerance, where):
    """Assert that values have the dtype, the shape and, about, the numbers of those kept."""
    (dtype, values), (kept_dtype, kept_values) = actual, kept
    assert dtype == kept_dtype, where
    values, kept_values = np.array(values), np.array(kept_values)
    assert values.shape == kept_values.shape, where
    if kept_values.dtype.kind != "f":
        assert (values == kept_values).all(), where
        return
    finite = np.isfinite(kept_values)
    np.testing.assert_array_equal(values[~finite], kept_values[~finite], err_msg=where)
    size = np.maximum(1.0, np.abs(kept_values[finite]))
    moved = np.abs(values[finite] - kept_values[finite]) / size
    tolerance = max(tolerance, 2**-22) if dtype == "float32" else tolerance
    assert moved.max(initial=0.0) <= tolerance, f"{where}: moved by {moved.max():.2g}"


def assert_described_alike(actual, kept, where, tolerance=1e-12):
    """Assert that a classifier says what one said before."""
    assert actual.keys() == kept.keys(), where
    for name in kept:
        assert_alike(actual[name], kept[name], tolerance, f"{where}: {name}")


@pytest.fixture(scope="module")
def predictions():
    """Return what the classifiers say now."""
    return golden.predictions()


@pytest.mark.parametrize(
    ("kind", "case"), [(kind, case) for kind in KINDS for case in PREDICTIONS[kind]]
)
def test_a_classifier_says_what_it_said(predictions, kind, case):
    tolerance = 1e-10 if case == "mixture" else 1e-12
    actual, kept = predictions[kind][case], PREDICTIONS[kind][case]
    assert_described_alike(actual, kept, case, tolerance)


def test_no_case_is_new_or_left_out(predictions):
    assert {kind: list(cases) for kind, cases in predictions.items()} == {
        kind: list(cases) for kind, cases in PREDICTIONS.items()
    }


@pytest.mark.filterwarnings(
    f"ignore::{InconsistentVersionWarning.__module__}.InconsistentVersionWarning"
)
@pytest.mark.parametrize("name", DUMPED)
def test_a_file_written_before_is_read_and_its_estimator_says_what_it_said(name):
    scored = next(scored for other, _, scored in golden.dumped() if other == name)
    loaded = joblib.load(DATA / f"{name}.joblib")
    tolerance = 1e-4 if name == "pipeline" else 1e-12
    assert_described_alike(golden.described(loaded, scored), DUMPED[name], name, tolerance)


@pytest.mark.filterwarnings(
    f"ignore::{InconsistentVersionWarning.__module__}.InconsistentVersionWarning"
)
@pytest.mark.parametrize("name", DUMPED)
def test_a_file_saved_before_is_loaded_without_code_and_says_what_it_said(name):
    scored = next(scored for other, _, scored in golden.dumped() if other == name)
    network = Convolutional() if name == "pipeline" else None
    with _warned_of_code(name):
        loaded = io.load(DATA / f"{name}.densconf", network=network)
    tolerance = 1e-4 if name == "pipeline" else 1e-12
    assert_described_alike(golden.described(loaded, scored), DUMPED[name], name, tolerance)


def _warned_of_code(name):
    """Expect the warning of other code, where this Python compiles otherwise than 3.11 did."""
    if name == "pipeline" and sys.version_info[:2] != (3, 11):
        return pytest.warns(UserWarning, match="the code of Convolutional, .* or of Python, is not")
    return contextlib.nullcontext()


def test_a_rejector_saved_before_decides_as_it_did():
    loaded = io.load(DATA / "rejector.densconf")
    assert_described_alike(golden.rejected(loaded), read_json("rejected.json.gz"), "", 1e-9)


def test_results_written_before_are_sound_still():
    run = json.loads((DATA / "predicted" / "run.json").read_text())
    assert run.pop("version") == 1
    result = DATA / "predicted" / "predict_proba.npy"
    assert is_sound(result, f"{result.name} of {json.dumps(run)}", len(golden.SCORED))
    np.testing.assert_allclose(np.load(result)[:2].sum(axis=1), 1, 1e-12)


def test_features_are_those_they_were(tmp_path):
    kept, actual = read_json("features.json.gz"), golden.features(tmp_path)
    assert actual.keys() == kept.keys()
    for name in kept:
        assert_alike(actual[name], kept[name], 1e-5, name)


@pytest.mark.parametrize("name", STORED)
def test_a_store_written_before_is_read_without_a_forward_pass(name, tmp_path):
    memory = tmp_path / "memory"
    shutil.copytree(DATA / "memory", memory)
    before = {path: path.read_bytes() for path in memory.rglob("*") if path.is_file()}
    extractor, given = golden.stored_inputs(tmp_path)[name]
    expected = extractor.fit_transform(given)
    features = extractor.set_params(memory=memory).fit(given).transform(given)
    np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-5)
    after = {path: path.read_bytes() for path in memory.rglob("*") if path.is_file()}
    assert after == before  # whatever passes through the network is written


def test_a_store_is_shards_of_digests_and_features_beside_the_widths(tmp_path):
    extractor, given = golden.stored_inputs(tmp_path)["two layers"]
    extractor.set_params(memory=tmp_path / "memory").fit_transform(given)
    (folder,) = (tmp_path / "memory" / "sklearn_densconf").iterdir()
    assert (folder / "widths.json").read_text() == "[100, 2]"
    shards = [np.load(path) for path in folder.glob("*.npy")]
    record = np.dtype([("digest", "V16"), ("features", "<f4", (102,))])
    assert [shard.dtype for shard in shards] == [record] * len(shards)
    assert sum(map(len, shards)) == len(given)


def _parts(value, where=""):
    """Yield the leaves of nested results, each with its path and the last key on it."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _parts(part, f"{where}/{key}")
    elif isinstance(value, list):
        yield where, len(value)
        for number, part in enumerate(value):
            yield from _parts(part, f"{where}/{number}")
    else:
        yield where, value


def _is_measured(where):
    return where.startswith("/runs/") and not NOT_MEASURED & set(where.split("/"))


@pytest.mark.slow
def test_the_report_of_the_digits_holds_the_numbers_it_held(tmp_path):
    kept = dict(_parts(read_json("digits.json.gz")))
    actual = dict(_parts(golden.digits(tmp_path / "digits")))
    assert actual.keys() == kept.keys()
    for where, value in kept.items():
        if not isinstance(value, float):
            assert type(actual[where]) is type(value), where
        if isinstance(value, float) and _is_measured(where):
            tolerance = 1e-4 if SAME_NETWORK else np.inf
            assert actual[where] == pytest.approx(value, rel=0, abs=tolerance), where
        elif SAME_NETWORK or not _is_measured(where):
            assert actual[where] == value, where
