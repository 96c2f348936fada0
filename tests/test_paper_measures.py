"""What the reproduction measures, and how it says who is better."""

import sys

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

pytest.importorskip("skorch")
pytest.importorskip("matplotlib")

from sklearn_densconf.evaluation._case import collect_findings, show_cases
from sklearn_densconf.evaluation._findings import Finding
from sklearn_densconf.evaluation._measures import measure_sweep
from sklearn_densconf.evaluation._pictures import Pictures, scale_to_unit
from sklearn_densconf.evaluation._progress import track
from sklearn_densconf.evaluation._report import lead
from sklearn_densconf.evaluation._sweeps import every_other
from sklearn_densconf.evaluation._tables import over_runs
from sklearn_densconf.evaluation.cases.attack import measure_attack
from sklearn_densconf.evaluation.cases.unknown import measure_unknown
from sklearn_densconf.paper._confidences import COMPARED
from sklearn_densconf.paper._data import load_embedded_digits
from sklearn_densconf.paper._experiments import all_cases
from sklearn_densconf.paper._texts import CALLED


def test_a_sweep_is_measured_over_all_pictures_at_all_severities() -> None:
    draw = np.random.default_rng(0)
    correct, confidence = draw.random((3, 40)) < 0.7, draw.random((3, 40))
    measured = measure_sweep([0, 1, 2], correct, {"softmax": confidence})
    found = measured["confidences"]["softmax"]
    assert measured["accuracy"] == [row.mean() for row in correct]
    assert found["mean"] == pytest.approx([row.mean() for row in confidence])
    assert found["auroc"] == roc_auc_score(correct.ravel(), confidence.ravel())
    assert found["left"] == pytest.approx(confidence[2].mean() / confidence[0].mean())


def test_a_sweep_from_a_large_to_a_small_severity_falls_with_its_quality() -> None:
    confidence = np.array([[0.9, 0.9], [0.5, 0.7], [0.6, 0.7], [0.1, 0.2]])
    correct = np.array([[True, False]] * 4)
    found = measure_sweep([100, 60, 20, 1], correct, {"softmax": confidence})["confidences"]
    assert found["softmax"]["rises"] == 1
    assert found["softmax"]["tau"] == pytest.approx(-4 / 6)


def test_what_cannot_be_measured_is_none() -> None:
    correct = np.ones((2, 5), bool)
    found = measure_sweep([0, 1], correct, {"softmax": np.full((2, 5), 0.5)})["confidences"]
    assert found["softmax"]["auroc"] is None  # no errors to tell
    assert found["softmax"]["tau"] is None  # all equal
    assert over_runs([None, None]) == "–"


def test_rises_under_attack_are_counted_one_by_one() -> None:
    clean, attacked = np.array([0.5, 0.9, 0.2, 0.4]), np.array([0.6, 0.1, 0.2, 0.41])
    success, norms = np.array([True, True, False, True]), np.array([1.0, 2.0, 3.0, 2.0])
    measured = measure_attack({"density": clean}, {"density": attacked}, norms, success)
    assert measured["n"] == 4
    assert measured["fooled"] == 0.75
    assert measured["norm"] == 2
    assert measured["confidences"]["density"] == {
        "rises": 2,
        "share": 0.5,
        "clean": 0.5,
        "attacked": pytest.approx(1.31 / 4),
    }


def test_known_pictures_are_the_positive_class() -> None:
    measured = measure_unknown({"log p(z)": np.array([3.0, 2.0])}, {"log p(z)": np.zeros(5)})
    assert measured == {"log p(z)": {"auroc": 1.0}}


def _run(softmax: float, density: float) -> dict:
    confidences = {"softmax": {"auroc": softmax}, "density": {"auroc": density}}
    return {"clean": {"confidences": confidences}}


def _findings(runs: list[dict]) -> list[Finding]:
    return collect_findings(show_cases(all_cases(), {"runs": runs, "labels": {}}, COMPARED))


def test_better_is_better_in_every_training() -> None:
    cases = {
        "softmax": [_run(0.9, 0.8), _run(0.7, 0.6)],
        "density": [_run(0.8, 0.9), _run(0.6, 0.7)],
        "even": [_run(0.8, 0.9), _run(0.7, 0.6)],
    }
    for winner, runs in cases.items():
        (finding,) = _findings(runs)
        assert finding.winner == winner
    assert lead(_findings(cases["softmax"]), CALLED) == [
        "Softmax is better at error detection (clean pictures).",
        "The density confidence is better at nothing that was measured.",
    ]


def test_less_is_better_where_a_rise_is_a_failure() -> None:
    shares = {"softmax": {"share": 0.1}, "density": {"share": 0.2}}
    runs = [{**_run(0.5, 0.5), "table1": {"confidences": shares}}]
    assert [finding.winner for finding in _findings(runs)] == ["even", "softmax"]


def test_several_trainings_are_a_mean_and_a_standard_deviation() -> None:
    assert over_runs([0.25]) == "0.250"
    assert over_runs([0.2, 0.3, 0.4]) == "0.300 ± 0.100"
    assert over_runs([0.2, 0.4], ".1%") == "30.0 ± 14.1 %"
    assert over_runs([-1.0], ".2f") == "−1.00"


def test_at_most_six_severities_are_shown_the_first_and_the_last_among_them() -> None:
    assert every_other(range(11)) == [0, 2, 4, 6, 8, 10]
    assert every_other([100, 1]) == [100, 1]
    assert every_other((0, 2, 4, 8), 3) == [0, 4, 8]


def test_chunks_are_all_pictures_in_their_order() -> None:
    X = np.arange(7.0)
    pictures = Pictures(np.zeros(7, np.int64), lambda indices: X[indices], chunk=3)
    assert [part.tolist() for part in pictures.chunks()] == [[0, 1, 2], [3, 4, 5], [6]]
    assert pictures.n_chunks == 3
    assert [part.tolist() for part in pictures.only(np.array([5, 1])).chunks()] == [[5, 1]]


def test_the_digits_are_pictures_like_those_of_mnist() -> None:
    dataset = load_embedded_digits()
    X = dataset.test.read(np.arange(599))
    assert len(dataset.train) + len(dataset.test) == 1797
    assert X.shape == (599, 1, 28, 28)
    assert X.dtype == np.float32
    assert 0 <= X.min() < X.max() <= 1
    assert not X[:, :, :4].any()  # the margin
    assert np.unique(dataset.test.y).tolist() == list(range(10))


def test_uint8_pixels_are_brought_to_the_unit_interval() -> None:
    assert scale_to_unit(np.array([0, 51, 255], np.uint8)).tolist() == pytest.approx([0, 0.2, 1])
    assert scale_to_unit(np.array([0.5], np.float32)).tolist() == [0.5]


def test_work_goes_on_without_a_progress_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(track([1, 2], 2, "counting")) == [1, 2]
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert list(track([1, 2], 2, "counting")) == [1, 2]
