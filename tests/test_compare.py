"""The comparison: each peer's score, what is measured of it, the command and its page."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from scipy.stats import multivariate_normal
from sklearn.covariance import LedoitWolf, shrunk_covariance
from sklearn.metrics import roc_auc_score
from torch import nn

from sklearn_densconf import GaussianDensityClassifier, OpenSetClassifier, SoftmaxClassifier
from sklearn_densconf.__main__ import main
from sklearn_densconf.comparison._glance import losses
from sklearn_densconf.comparison._grid import Grid, grid_of
from sklearn_densconf.comparison._measures import measure_attack, measure_errors, measure_unknown
from sklearn_densconf.comparison._run import CASES, COMPARED, MEASURED, Question, _halves
from sklearn_densconf.comparison._sweeps import SWEEPS, expose, sweeps_of
from sklearn_densconf.evaluation._pictures import Pictures
from sklearn_densconf.evaluation.peers import (
    PEERS,
    Activations,
    Known,
    Peer,
    _peer,
    _pytorch_ood,
    find_last_layer,
    fit_peers,
)
from sklearn_densconf.evaluation.peers._logits import max_logit_of_norm
from sklearn_densconf.evaluation.peers._openmax import fit_tails, log_known
from sklearn_densconf.metrics import (
    area_under_generalized_risk_coverage,
    area_under_risk_coverage,
    expected_calibration_error,
    fpr_at_tpr,
    scod_area_under_risk_coverage,
)

pytest.importorskip("PIL")
pytest.importorskip("matplotlib")

from PIL import Image

N, D, K = 400, 12, 3
LIBRARY = [peer.name for peer in _pytorch_ood.PEERS]


def _known():
    """Return rectified features around three centres, and logits of one linear layer."""
    draw = np.random.default_rng(0)
    y = np.arange(2 * N) % K
    centres = 2 * draw.random((K, D))
    weight = (centres - centres.mean(axis=0)).astype(np.float32)
    features = np.maximum(centres[y] + draw.normal(size=(2 * N, D)), 0).astype(np.float32)
    bias = np.array([0.5, -0.5, 0.1], np.float32)
    both = Activations(features, features @ weight.T + bias)
    fitted, held_out = (
        Activations(*(part[s] for part in both)) for s in (slice(N), slice(N, None))
    )
    layer = find_last_layer(_linear(weight, bias), fitted)
    return Known(fitted, y[:N], held_out, y[N:], layer)


def _linear(weight, bias):
    layer = nn.Linear(weight.shape[1], len(weight))
    layer.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})
    return nn.Sequential(nn.ReLU(), layer)


@pytest.fixture(scope="module")
def known():
    return _known()


@pytest.fixture(scope="module")
def peers(known):
    fitted, left_out = fit_peers(PEERS, known)
    assert left_out == {} or set(left_out) == set(LIBRARY)
    return fitted


def _score(peers, known, name):
    X = np.hstack(known.held_out)
    if name in LIBRARY:
        pytest.importorskip("pytorch_ood")
    return peers[name].confidence(X)


def _unit(X):
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def _of_label(posterior, z):
    """Return the posterior of the network's label."""
    return posterior[np.arange(len(z)), z.argmax(axis=1)]


def _bayes(known, temperature, scale):
    """Return the posterior of one Gaussian a class, each feature by itself, in naive lines."""
    z = known.held_out.logits.astype(np.float64)
    joint = []
    for label in range(K):
        own = known.train.logits[known.y == label].astype(np.float64)
        floor = 1e-9 * known.train.logits.astype(np.float64).var(axis=0).max()
        variance = (own.var(axis=0) + floor) * scale
        density = multivariate_normal(own.mean(axis=0), np.diag(variance)).logpdf(z)
        joint.append(density / temperature + np.log(np.mean(known.y == label)))
    return _of_label(softmax(np.transpose(joint), axis=1), z)


def _dropped(known):
    """Return the mean posterior over 50 masks, in naive lines."""
    draw, posteriors = np.random.default_rng(0), []
    layer = known.last_layer
    kept = draw.random((50, D)) >= 0.5
    for mask in kept:
        z = np.where(mask, known.held_out.features.astype(float), 0) / 0.5 @ layer.weight.T
        posteriors.append(softmax(z + layer.bias, axis=1))
    return _of_label(np.mean(posteriors, axis=0), known.held_out.logits)


PROBABILITIES = {
    "dropout": _dropped,
    "softmax": lambda known: _of_label(
        softmax(known.held_out.logits, axis=1), known.held_out.logits
    ),
    "density": lambda known: _bayes(known, K, 1),
    "density, plain Bayes": lambda known: _bayes(known, 1, 1),
    "density, literal dΣ": lambda known: _bayes(known, 1, K),
}


@pytest.mark.parametrize("name", PROBABILITIES)
def test_the_score_of_a_probability_is_its_log_odds_in_naive_lines(peers, known, name):
    assert peers[name].is_probability
    found = expit(_score(peers, known, name))
    np.testing.assert_allclose(found, PROBABILITIES[name](known), rtol=1e-4, atol=1e-7)
    proba = peers[name].predict_proba(np.hstack(known.held_out))
    np.testing.assert_allclose(_of_label(proba, known.held_out.logits), found, rtol=1e-5)
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-5)


def test_the_temperature_is_that_of_held_out_pictures(peers, known):
    z, y = known.held_out.logits.astype(np.float64), known.y_held_out
    temperatures = np.geomspace(0.2, 20, 4000)
    loss = [-np.log(softmax(z / t, axis=1)[np.arange(N), y]).mean() for t in temperatures]
    best = temperatures[int(np.argmin(loss))]
    expected = _of_label(softmax(z / best, axis=1), z)
    np.testing.assert_allclose(expit(_score(peers, known, "softmax, T")), expected, atol=2e-3)


def _mahalanobis(known, *, relative):
    """Return distances of features of length 1, in naive lines with scikit-learn's shrinkage."""
    train = _unit(known.train.features.astype(np.float64))
    means = np.array([train[known.y == label].mean(axis=0) for label in range(K)])

    def distance(deviation, residual):
        covariance = shrunk_covariance(residual.T @ residual / len(residual), shrinkage)
        return np.einsum("...i,ij,...j->...", deviation, np.linalg.inv(covariance), deviation)

    residual = train - means[known.y]
    shrinkage = LedoitWolf(assume_centered=True).fit(residual).shrinkage_  # the background's, too
    u = _unit(known.held_out.features.astype(np.float64))
    nearest = distance(u[:, None] - means, residual).min(axis=1)
    background = distance(u - train.mean(axis=0), train - train.mean(axis=0))
    return (background - nearest if relative else -nearest) / 2


SCORES = {
    "max logit": lambda known: [max(row) for row in known.held_out.logits],
    "energy": lambda known: [np.log(np.exp(z).sum()) for z in known.held_out.logits.astype(float)],
    "GEN": lambda known: [
        -sum((p * (1 - p)) ** 0.1 for p in np.exp(z) / np.exp(z).sum())
        for z in known.held_out.logits.astype(float)
    ],
    "Mahalanobis++": lambda known: _mahalanobis(known, relative=False),
    "Mahalanobis++, relative": lambda known: _mahalanobis(known, relative=True),
    "density, log p(z)": lambda known: (
        GaussianDensityClassifier()
        .fit(known.train.logits, known.y)
        .score_samples(known.held_out.logits)
    ),
}


@pytest.mark.parametrize("name", SCORES)
def test_a_score_equals_naive_lines(peers, known, name):
    assert not peers[name].is_probability
    expected = SCORES[name](known)
    np.testing.assert_allclose(_score(peers, known, name), expected, rtol=2e-4, atol=1e-4)


def test_the_norm_is_the_one_of_the_smallest_aurc(peers, known):
    z, found = known.held_out.logits.astype(np.float64), {}
    for p in range(1, 11):
        centred = z - z.mean(axis=1, keepdims=True)
        found[p] = centred.max(axis=1) / (np.abs(centred) ** p).sum(axis=1) ** (1 / p)
    aurc = {
        p: area_under_risk_coverage(z.argmax(axis=1) == known.y_held_out, score)
        for p, score in found.items()
    }
    expected = found[min(aurc, key=aurc.get)]
    np.testing.assert_allclose(_score(peers, known, "max logit, p-norm"), expected, rtol=1e-6)


def test_logits_that_are_all_equal_have_a_norm_of_0():
    assert max_logit_of_norm(np.full((1, 3), 7.0), 2).tolist() == [0.0]


@pytest.mark.parametrize(
    ("name", "detector"), [("max logit", "MaxLogit"), ("energy", "EnergyBased"), ("GEN", "GEN")]
)
def test_scores_of_logits_rank_as_those_of_pytorch_ood(peers, known, name, detector):
    library = pytest.importorskip("pytorch_ood.detector")
    theirs = -getattr(library, detector)(None).predict_logits(
        torch.from_numpy(known.held_out.logits)
    )
    ours = _score(peers, known, name)
    assert np.corrcoef(ours, theirs)[0, 1] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("name", LIBRARY)
def test_the_detectors_of_pytorch_ood_are_called_as_it_documents(peers, known, name):
    library = pytest.importorskip("pytorch_ood.detector")
    z, y = torch.from_numpy(known.train.features), torch.from_numpy(known.y)
    new = torch.from_numpy(known.held_out.features)
    w, b = (torch.from_numpy(part) for part in known.last_layer)
    of_features = {
        "Mahalanobis": lambda: library.Mahalanobis(None),
        "Mahalanobis, relative": lambda: library.RMD(None),
        "class Gaussians": lambda: library.GMM(None),
        "kNN": lambda: library.KNN(None),
        "ViM": lambda: library.ViM(None, d=D // 2, w=w, b=b),
    }
    if name in of_features:
        expected = -of_features[name]().fit_features(z, y).predict_features(new)
    else:
        detector = getattr(library, name)(
            lambda x: x[:, :, None, None], lambda x: x.flatten(1) @ w.T + b
        )
        expected = -detector.predict(new)
    np.testing.assert_allclose(_score(peers, known, name), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["Mahalanobis", "Mahalanobis, relative"])
def test_a_distance_from_fewer_samples_than_features_is_as_exact_as_its_formula(name):
    pytest.importorskip("pytorch_ood")
    draw = np.random.default_rng(0)
    y, centres = np.arange(90) % K, draw.normal(size=(K, 128))
    near, far = (
        (centres[y] + scale * draw.normal(size=(90, 128))).astype(np.float32) for scale in (1, 1.5)
    )
    logits = np.zeros((90, K), np.float32)
    train, new = Activations(near, logits), Activations(far, logits)
    peer = next(peer for peer in _pytorch_ood.PEERS if peer.name == name)
    score = peer.fit(Known(train, y, new, y, None))

    def distances(centre, deviations):
        scatter = deviations.T @ deviations + 1e-6 * np.eye(128)
        return ((far - centre) @ np.linalg.inv(scatter) * (far - centre)).sum(axis=1)

    means = np.stack([near[y == code].mean(axis=0, dtype=float) for code in range(K)])
    nearest = np.min([distances(mean, near - means[y]) for mean in means], axis=0)
    relative = name != "Mahalanobis"
    mean = near.mean(axis=0, dtype=float)
    expected = distances(mean, near - mean) - nearest if relative else -nearest / 2
    np.testing.assert_allclose(score(new), expected, rtol=1e-4)
    assert (nearest > 0).all()


def test_a_detector_is_fitted_in_its_own_type_and_leaves_torchs_as_it_is(known):
    pytest.importorskip("pytorch_ood")
    peer = next(peer for peer in _pytorch_ood.PEERS if peer.name == "Mahalanobis")
    assert peer.fit(known)(known.held_out).dtype == np.float64
    assert torch.zeros(1).dtype == torch.get_default_dtype() == torch.float32


def test_openmax_equals_that_of_pytorch_ood_where_a_batch_has_all_classes(known):
    library = pytest.importorskip("pytorch_ood.detector")
    z, y = known.train.logits, known.y
    assert set(z.argmax(axis=1)) == set(y)  # else it takes some distances for 0
    theirs = library.OpenMax(None).fit_logits(torch.from_numpy(z), torch.from_numpy(y))
    expected = theirs.predict_logits(torch.from_numpy(z))
    found = log_known(fit_tails(z.astype(np.float64), y), z.astype(np.float64))
    np.testing.assert_allclose(expit(-found), expected, atol=5e-3)  # theirs is in float32


def test_openmax_of_a_picture_does_not_depend_on_the_others(peers, known):
    X = np.hstack(known.held_out)
    one_by_one = np.concatenate([peers["OpenMax"].confidence(row[None]) for row in X[:20]])
    np.testing.assert_allclose(one_by_one, peers["OpenMax"].confidence(X)[:20], rtol=1e-12)


def test_neighbours_are_sought_among_pictures_spread_over_all(known, monkeypatch):
    pytest.importorskip("pytorch_ood")
    monkeypatch.setattr(_pytorch_ood, "_MOST_NEIGHBOURS", 100)
    every_fourth = Activations(*(part[np.linspace(0, N - 1, 100).round().astype(int)]
                                 for part in known.train))  # fmt: skip
    (peer,) = (peer for peer in PEERS if peer.name == "kNN")
    distances = np.linalg.norm(
        _unit(known.held_out.features)[:, None] - _unit(every_fourth.features), axis=2
    )
    expected = -np.sort(distances, axis=1)[:, 49]
    np.testing.assert_allclose(peer.fit(known)(known.held_out), expected, rtol=1e-4, atol=1e-5)


def test_the_distance_to_the_nearest_neighbours_in_naive_lines(peers, known):
    distances = np.linalg.norm(
        _unit(known.held_out.features)[:, None] - _unit(known.train.features), axis=2
    )
    expected = -np.sort(distances, axis=1)[:, 49]
    np.testing.assert_allclose(_score(peers, known, "kNN"), expected, rtol=1e-4, atol=1e-5)


def test_the_open_set_classifier_is_fitted_with_the_calibrating_half(peers, known):
    model = OpenSetClassifier().fit(
        np.hstack(known.train), known.y, X_val=np.hstack(known.held_out), y_val=known.y_held_out
    )
    X = np.hstack(known.held_out)
    np.testing.assert_allclose(expit(_score(peers, known, "open-set")), model.confidence(X))
    np.testing.assert_allclose(_score(peers, known, "open-set, known?"), model.score_samples(X))


def test_all_peers_judge_the_networks_label(peers, known):
    for peer in peers.values():
        labels = peer.predict(np.hstack(known.held_out))
        assert np.array_equal(labels, known.held_out.logits.argmax(axis=1))
        assert peer.n_bytes > 0 <= peer.seconds


def test_a_score_that_is_not_a_number_is_the_least_sure(known):
    odd = Peer(
        "odd", lambda known: lambda activations: np.full(len(activations.logits), np.nan), ""
    )
    fitted, _ = fit_peers([odd], known)
    assert (fitted["odd"].confidence(np.hstack(known.held_out)) == -np.inf).all()


def test_without_pytorch_ood_its_rows_are_left_out_and_say_how_to_install_it(known, monkeypatch):
    _peer._library.cache_clear()
    monkeypatch.setitem(sys.modules, "pytorch_ood", None)
    monkeypatch.setitem(sys.modules, "pytorch_ood.detector", None)
    fitted, left_out = fit_peers(PEERS, known)
    _peer._library.cache_clear()
    assert set(left_out) == set(LIBRARY)
    assert {*fitted, *left_out} == {peer.name for peer in PEERS}
    assert all("pip install 'sklearn_densconf[compare]'" in why for why in left_out.values())


def test_a_peer_that_needs_weights_is_left_out_where_they_are_not_found(known):
    pytest.importorskip("pytorch_ood")
    _, left_out = fit_peers(PEERS, _without(known))
    assert set(left_out) == {"dropout", "ViM", "SCALE", "ASH"}
    assert all("last linear layer, which were not found" in why for why in left_out.values())


def _without(known):
    return Known(known.train, known.y, known.held_out, known.y_held_out)


def test_the_last_layer_is_found_whatever_outputs_are_taken(known):
    draw = np.random.default_rng(1)
    weight = draw.normal(size=(9, D)).astype(np.float32)
    bias = draw.normal(size=9).astype(np.float32)
    outputs = [7, 2, 4]
    logits = known.train.features @ weight[outputs].T + bias[outputs]
    found = find_last_layer(_linear(weight, bias), Activations(known.train.features, logits))
    assert np.array_equal(found.weight, weight[outputs])
    assert np.array_equal(found.bias, bias[outputs])
    stored = Activations(known.train.features, logits.clip(-99, np.quantile(logits, 0.9)))
    assert np.array_equal(find_last_layer(_linear(weight, bias), stored).weight, weight[outputs])
    other = Activations(known.train.features, np.tanh(logits))
    assert find_last_layer(_linear(weight, bias), other) is None


def test_a_convolution_of_one_pixel_is_a_last_layer(known):
    layer = nn.Conv2d(D, K, 1)
    weight, bias = known.last_layer
    layer.load_state_dict(
        {"weight": torch.from_numpy(weight)[:, :, None, None], "bias": torch.from_numpy(bias)}
    )
    found = find_last_layer(nn.Sequential(layer, nn.Flatten()), known.train)
    assert np.array_equal(found.weight, weight)


def _outcomes():
    draw = np.random.default_rng(2)
    confidence = draw.normal(size=(3, 50))
    correct = draw.random((3, 50)) < expit(confidence)
    return correct, confidence


def test_errors_are_measured_over_all_severities_of_a_sweep():
    correct, odds = _outcomes()
    odds[0, 0] = -np.inf
    found = measure_errors([0, 1, 2], correct, {"p": odds, "score": odds}, ["p"])
    p, score = found["confidences"]["p"], found["confidences"]["score"]
    flat, ranks = correct.ravel(), np.maximum(odds.ravel(), -1e3)
    assert p["auroc"] == score["auroc"] == pytest.approx(roc_auc_score(flat, ranks))
    assert p["aurc"] == pytest.approx(area_under_risk_coverage(flat, ranks))
    assert p["augrc"] == pytest.approx(area_under_generalized_risk_coverage(flat, ranks))
    expected = expected_calibration_error(flat, expit(ranks))
    assert p["calibration error"] == pytest.approx(expected)
    assert "calibration error" not in score
    assert p["mean"] == pytest.approx(expit(odds).mean(axis=1))
    assert score["mean"][0] is None  # JSON has no -inf
    assert p["rises"] == sum(b > a for a, b in zip(p["mean"], p["mean"][1:], strict=False))
    assert found["accuracy"] == pytest.approx(correct.mean(axis=1))


def test_a_falling_severity_is_a_growing_distortion():
    correct, odds = _outcomes()
    falling = np.sort(odds, axis=0)[::-1]
    found = measure_errors([100, 10, 1], correct, {"p": falling}, ["p"])["confidences"]["p"]
    assert (found["tau"], found["rises"]) == (-1, 0)


def test_out_of_distribution_pictures_are_measured_by_three_numbers():
    correct, odds = _outcomes()
    known, unknown = odds[0], odds[1] - 1
    found = measure_unknown(correct[0], {"a": known}, {"a": unknown})["a"]
    is_known, both = np.repeat([1, 0], 50), np.append(known, unknown)
    assert found["auroc"] == pytest.approx(roc_auc_score(is_known, both))
    assert found["fpr"] == pytest.approx(fpr_at_tpr(is_known, both))
    assert found["scod"] == pytest.approx(scod_area_under_risk_coverage(correct[0], known, unknown))


def test_a_rise_under_attack_is_strict():
    found = measure_attack(np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.0, 2.0, 1.0, -np.inf]))
    assert found["share"] == 0.25
    assert found["auroc"] == pytest.approx(
        roc_auc_score([1] * 4 + [0] * 4, [0, 1, 2, 3, 0, 2, 1, -9])
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_the_mildest_severity_changes_nothing_and_every_other_one_does(dtype):
    draw = np.random.default_rng(3)
    pixels = draw.integers(30, 220, (4, 1, 28, 28)).astype(np.uint8)
    pixels = pixels if dtype == np.uint8 else (pixels / 255).astype(dtype)
    for name, sweep in SWEEPS.items():
        first, *others = (sweep.apply(pixels, severity, 0) for severity in sweep.severities)
        tolerance = 4 if name == "JPEG" else 0  # quality 100 rounds
        assert np.abs(first.astype(float) - pixels).max() <= tolerance / (
            1 if dtype == np.uint8 else 255
        )
        assert all(other.dtype == dtype and (other != first).any() for other in others)


def test_light_is_multiplied_and_clipped():
    assert expose(np.array([0, 100, 200], np.uint8), 1.5, channel_axis=1).tolist() == [0, 150, 255]
    half = expose(np.array([0.5, 1.0], np.float32), 0.5, channel_axis=1)
    assert half.tolist() == [0.25, 0.5]


def test_the_quick_sweeps_keep_both_ends():
    for name, sweep in sweeps_of(quick=True).items():
        assert len(sweep.severities) == 3
        assert {sweep.severities[0], sweep.severities[-1]} <= set(SWEEPS[name].severities)


def test_each_held_out_picture_calibrates_or_measures():
    pictures = Pictures(np.arange(40) % 4, lambda indices: indices)
    for seed in range(3):
        calibrating, measured = (next(part.chunks()) for part in _halves(pictures, seed))
        assert sorted([*calibrating, *measured]) == list(range(40))
        assert np.bincount(calibrating % 4).tolist() == [5] * 4


def test_a_loss_is_larger_than_a_standard_deviation():
    values = np.array([[[0.90, 0.8], [0.95, 0.9]], [[0.90, 0.9], [0.97, 0.8]]])
    grid = Grid("AUROC", ".3f", True, ["ours", "theirs"], ["clean", "noise"], values)
    table, n_lost, n_columns = losses([grid], "ours")
    assert (n_lost, n_columns) == (1, 2)
    assert table.rows == [["AUROC, clean", "0.900 ± 0.000", "0.960 ± 0.014", "theirs"]]


def test_a_loss_that_is_not_shown_is_none():
    values = np.array([[[0.90012], [0.90037]], [[0.90011], [0.90037]]])
    grid = Grid("AUROC", ".3f", True, ["ours", "theirs"], ["clean"], values)
    assert losses([grid], "ours")[1:] == (0, 1)


def test_a_grid_has_a_dash_where_nothing_was_measured():
    run = {"clean": {"a": {"x": 1.0}, "b": {"x": None}}}
    grid = grid_of([run], "x", "title")
    assert grid.table().rows == [["a", "1.000"], ["b", "–"]]


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Run the command once; return the folder of the results."""
    folder = tmp_path_factory.mktemp("compared")
    assert _command(folder) == 0
    return folder


def _command(folder, *options):
    page = ["--page", str(folder / "page.md")]
    return main(["compare", "--quick", "--seeds", "1", "--out", str(folder), *page, *options])


def _results(folder):
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def test_the_command_measures_every_peer_in_every_case(compared):
    results = _results(compared)
    (run,) = results["runs"]
    names = [peer.name for peer in PEERS if peer.name not in results["left_out"]]
    assert list(run["cost"]) == names
    assert set(run["errors"]) == {"clean", *SWEEPS}
    made = {"uniform noise", "inverted pictures", "shuffled pixels", "fooling"}
    assert set(run["unknown"]) == made
    assert set(run["attack"]) == {"DeepFool", "FGSM", "universal"}
    attacked = [part["confidences"] for part in run["attack"].values()]
    for part in (*run["unknown"].values(), *attacked):
        assert list(part) == names
    for part in run["errors"].values():
        assert list(part["confidences"]) == names
        found = [n for n in names if "calibration error" in part["confidences"][n]]
        assert found == [p.name for p in PEERS if p.is_probability] == list(run["rejection"])
    assert {case.name for case in MEASURED} < set(run)


def test_one_network_has_one_accuracy(compared):
    for part in _results(compared)["runs"][0]["errors"].values():
        assert len(part["accuracy"]) == len(part["severity"])


def test_the_report_and_the_page_show_every_case(compared):
    report = (compared / "report.html").read_text(encoding="utf-8")
    page = (compared / "page.md").read_text(encoding="utf-8")
    for case in CASES:
        assert case.title in page
        assert case.title in report
    assert f"Where {COMPARED[0]} beats {COMPARED[1]}" in report
    assert page.index("Where it loses") < page.index("### Errors")
    drawings = re.findall(r"\]\((_static/[^)]+)\)", page)
    assert len(drawings) == sum(case.draw is not None for case in CASES)
    assert all((compared / drawing).is_file() for drawing in drawings)
    assert str(compared) not in page + report  # no path of this machine


def test_the_same_command_goes_on_from_what_is_done(compared, capfd):
    before = _results(compared)
    assert _command(compared, "--beside", str(compared / "results.json")) == 0
    after = _results(compared)
    for run in (*before["runs"], *after["runs"]):
        del run["seconds"]  # the costs are those of before
    assert before["runs"] == after["runs"]
    page = (compared / "page.md").read_text(encoding="utf-8")
    assert page.count("### At a glance") == 2  # these results, and those beside them
    said = capfd.readouterr()
    assert float(re.search(r"training: ([\d.]+) s", said.err)[1]) < 2
    assert said.out.strip() == str(compared / "report.html")


def test_the_help_lists_what_there_is():
    command = [sys.executable, "-m", "sklearn_densconf", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "compare" in done.stdout
    of_compare = [*command[:-1], "compare", "--help"]
    shown = subprocess.run(of_compare, capture_output=True, text=True, check=True).stdout
    assert all(
        f"--{name}" in shown for name in ("dataset", "data", "out", "attacked", "seeds", "quick")
    )
    assert "exit codes: 0; 2 where the input is wrong" in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "somewhere"], "error: --data: the digits come with scikit-learn"),
        (["--dataset", "mnist"], "error: --dataset mnist needs --data FOLDER"),
        (["--beside", __file__], f"error: {__file__} holds no results: give what compare wrote"),
        (["--unknown", "nowhere"], "error: --unknown: nowhere has neither"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(options, message, tmp_path, capsys):
    assert main(["compare", *options, "--out", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(message)
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "options", [[], ["compare", "--dataset", "cifar"], ["compare", "--seeds", "0"]]
)
def test_a_wrong_option_is_exit_code_2(options, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(options)
    assert stopped.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_of_folders_only_the_names_are_kept(tmp_path):
    unknown = [tmp_path / "clothes", tmp_path / "letters"]
    question = Question(
        data=tmp_path / "mnist", backbone=f"{tmp_path}/own.py:network", unknown=unknown
    )
    asked = question.as_json()
    assert asked["unknown"] == "clothes letters"
    assert asked["data"] == "mnist"
    assert asked["backbone"] == "own.py:network"
    assert Question().as_json()["backbone"] is None
    assert Question().layers() == ["penultimate", "output"]
    assert Question(layer="fc1").layers() == ["fc1", "output"]
    assert Question("imagenet", layer="pool").layers() == ["network.pool", "output"]


def test_softmax_is_that_of_this_package(peers, known):
    softmax_ = SoftmaxClassifier().fit(known.train.logits, known.y)
    expected = softmax_.confidence(known.held_out.logits, log_odds=True)
    np.testing.assert_allclose(_score(peers, known, "softmax"), expected, rtol=1e-5, atol=1e-5)


TOY = """
import numpy as np, torch

def preprocess(picture):
    pixels = np.asarray(picture.resize((16, 16)), np.float32)
    return torch.from_numpy(pixels).permute(2, 0, 1) / 255

def network():
    layer = torch.nn.Linear(3 * 16 * 16, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[-1.0], [1.0]]).expand(2, 768) / 100)
        layer.bias.copy_(torch.tensor([3.84, -3.84]))  # told apart at half of the light
    return torch.nn.Sequential(torch.nn.Flatten(), layer)
"""


@pytest.fixture
def dark_and_bright(tmp_path):
    """Folder of two classes of pictures of eight bits, 60 to train on and 8 held out, each."""
    draw = np.random.default_rng(0)
    for k, wnid in enumerate(["n01440764", "n02102040"]):
        for split, n in (("train", 60), ("val", 8)):
            folder = tmp_path / "pictures" / split / wnid
            folder.mkdir(parents=True)
            for i in range(n):
                pixels = draw.integers(20 + 120 * k, 120 + 120 * k, (16, 16, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    return tmp_path / "pictures"


def test_a_pretrained_network_of_pictures_in_files_is_compared(dark_and_bright, tmp_path):
    (tmp_path / "own.py").write_text(TOY)
    where = ["--data", str(dark_and_bright), "--backbone", f"{tmp_path}/own.py:network"]
    options = ["--out", str(tmp_path), "--page", str(tmp_path / "page.md"), "--seeds", "2"]
    assert main(["compare", "--dataset", "imagenet", *where, *options]) == 0
    results = _results(tmp_path)
    clean = results["runs"][0]["errors"]["clean"]
    assert clean["accuracy"] == [1.0]
    assert clean["confidences"]["softmax"]["auroc"] is None  # there is no error to tell
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "--data pictures --backbone own.py:network" in page
    assert str(tmp_path) not in page


def test_pictures_that_are_links_out_of_the_folder_are_compared_if_asked(
    dark_and_bright, tmp_path, capsys
):
    (tmp_path / "own.py").write_text(TOY)
    for path in dark_and_bright.rglob("*.png"):
        link = tmp_path / "subset" / path.relative_to(dark_and_bright)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)
    where = ["--data", str(tmp_path / "subset"), "--backbone", f"{tmp_path}/own.py:network"]
    asked = ["compare", "--dataset", "imagenet", *where, "--seeds", "1", "--quick"]
    asked += ["--out", str(tmp_path / "out")]
    with pytest.warns(UserWarning, match=r"60 links that lead out .*\(--links-outside\)"):
        assert main(asked) == 2
    assert "has no pictures" in capsys.readouterr().err
    assert main([*asked, "--links-outside"]) == 0
    assert _results(tmp_path / "out")["n_train"] == 8


def test_a_class_with_too_few_held_out_pictures_to_halve_twice_is_named(
    dark_and_bright, tmp_path, capsys
):
    (tmp_path / "own.py").write_text(TOY)
    for i in range(3, 8):
        (dark_and_bright / "val" / "n02102040" / f"{i}.png").unlink()
    where = ["--data", str(dark_and_bright), "--backbone", f"{tmp_path}/own.py:network"]
    assert main(["compare", "--dataset", "imagenet", *where, "--out", str(tmp_path / "out")]) == 2
    assert "class n02102040 has 3 held-out pictures, wanted at least 4" in capsys.readouterr().err


def test_out_of_distribution_features_are_not_the_most_familiar_to_the_relative_form():
    draw = np.random.default_rng(0)
    k, d, n = 5, 200, 400  # variation in 20 of 200 directions
    y = np.arange(n) % k
    basis = np.linalg.qr(draw.normal(size=(d, 20)))[0].T

    def features(codes):
        within = draw.normal(size=(len(codes), 20)) + 4 * np.eye(k, 20)[codes]
        return (1 + within @ basis + 0.01 * draw.normal(size=(len(codes), d))).astype(np.float32)

    train, new = (Activations(features(y), np.eye(k, dtype=np.float32)[y]) for _ in range(2))
    peer = next(peer for peer in PEERS if peer.name == "Mahalanobis++, relative")
    score = peer.fit(Known(train, y, new, y, None))
    others = Activations((1 + draw.normal(size=(n, d))).astype(np.float32), new.logits)
    assert np.median(score(others)) < score(new).min()
