"""evaluate: networks and pictures of one's own through the cases of the paper's report."""

import json
import pickle
import re
import subprocess
import sys
import textwrap
import threading
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from networks import Logging, rows_passed
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC
from torch import nn

pytest.importorskip("PIL")
pytest.importorskip("matplotlib")

from PIL import Image

from sklearn_densconf import FeatureExtractor, GaussianDensityClassifier, SoftmaxClassifier
from sklearn_densconf.adversarial import deepfool
from sklearn_densconf.distortions import gaussian_blur, gaussian_noise, jpeg, scale_pixels
from sklearn_densconf.evaluation import cases as experiments
from sklearn_densconf.evaluation import evaluate
from sklearn_densconf.evaluation._measures import measure_sweep
from sklearn_densconf.evaluation.cases import load_cases

N_TRAIN, N_TEST = 1200, 120
PIXELS, LABELS = load_digits(return_X_y=True)
PICTURES = np.rint(PIXELS / 16 * 255).astype(np.uint8).reshape(-1, 8, 8)  # 8-bit, as in files
X = (PICTURES[:, None] / 255).astype(np.float32)
X_TRAIN, Y_TRAIN = X[:N_TRAIN], LABELS[:N_TRAIN]
X_TEST, Y = X[-N_TEST:], LABELS[-N_TEST:]


def trained(seed=0):
    """Return a small network of digits, trained for a second."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
        optimizer = torch.optim.Adam(network.parameters(), 1e-2)
        given, wanted = torch.from_numpy(X_TRAIN), torch.from_numpy(Y_TRAIN)
        for _ in range(40):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(given), wanted).backward()
            optimizer.step()
    return network


def fitted(network, X=X_TRAIN, y=Y_TRAIN, **options):
    """Return softmax and density of one network, fitted."""
    classifiers = {"softmax": SoftmaxClassifier(), "density": GaussianDensityClassifier()}
    return {
        name: make_pipeline(FeatureExtractor(network, **options), classifier).fit(X, y)
        for name, classifier in classifiers.items()
    }


@pytest.fixture(scope="module")
def network():
    return trained()


@pytest.fixture(scope="module")
def pipelines(network):
    """Two readings of a network's output, one of its hidden layer, and naive Bayes."""
    hidden = make_pipeline(FeatureExtractor(network, layer="1"), GaussianDensityClassifier("tied"))
    bayes = make_pipeline(FeatureExtractor(network), GaussianNB())
    others = {"hidden": hidden, "bayes": bayes}
    return fitted(network) | {k: model.fit(X_TRAIN, Y_TRAIN) for k, model in others.items()}


@pytest.fixture(scope="module")
def evaluation(pipelines):
    return evaluate(pipelines, X_TEST, Y, unknown={"noisy": _noisy()}, n_attacked=30)


def _noisy():
    return np.random.default_rng(1).random((50, 1, 8, 8), np.float32)


def _run(evaluation):
    (run,) = evaluation.results["runs"]
    return run


def test_all_cases_are_measured_of_an_array_of_pictures(evaluation):
    assert set(_run(evaluation)) == {*load_cases(), "seed", "seconds"}
    assert evaluation.results["left_out"] == {}
    assert json.loads(json.dumps(evaluation.results, allow_nan=False)) == evaluation.results


def test_each_pipeline_is_judged_by_its_own_labels_and_confidence(evaluation, pipelines):
    for name, pipeline in pipelines.items():
        found = _run(evaluation)["clean"]["confidences"][name]
        proba = pipeline.predict_proba(X_TEST)
        right = pipeline.predict(X_TEST) == Y
        assert found["accuracy"] == [pytest.approx(pipeline.score(X_TEST, Y))]
        assert found["mean"] == [pytest.approx(proba.max(axis=1).mean(), abs=1e-6)]
        assert found["auroc"] == pytest.approx(roc_auc_score(right, proba.max(axis=1)), abs=1e-3)


DISTORTIONS = {
    "noise": lambda severity: gaussian_noise(X_TEST, severity, channel_axis=1, random_state=0),
    "blur": lambda severity: gaussian_blur(X_TEST, 8 * severity, channel_axis=1),
    "JPEG": lambda severity: jpeg(X_TEST, severity, channel_axis=1),
}


@pytest.mark.parametrize("name", DISTORTIONS)
def test_a_sweep_measures_what_the_pipelines_say_of_distorted_pictures(name, evaluation, pipelines):
    measured = _run(evaluation)["sweep"][name]
    strongest = DISTORTIONS[name](measured["severity"][-1])
    for key, pipeline in pipelines.items():
        found = measured["confidences"][key]
        assert found["accuracy"][-1] == pytest.approx(pipeline.score(strongest, Y))
        confidence = pipeline.predict_proba(strongest).max(axis=1)
        assert found["mean"][-1] == pytest.approx(confidence.mean(), abs=1e-6)
        assert found["left"] == found["mean"][-1] / found["mean"][0]


def test_scaled_pixels_are_seen_by_every_pipeline(evaluation, pipelines):
    measured = _run(evaluation)["scales"]
    for name, pipeline in pipelines.items():
        confidence = pipeline.predict_proba(scale_pixels(X_TEST, 100)).max(axis=1)
        found = measured["confidences"][name]["mean"][-1]
        assert found == pytest.approx(confidence.mean(), abs=1e-6)


def test_all_readings_of_a_network_see_the_same_adversarial_pictures(
    evaluation, pipelines, network
):
    measured = _run(evaluation)["attack"]
    chosen = X_TEST[np.linspace(0, N_TEST - 1, 30).round().astype(int)]
    attacked = deepfool(network, chosen, bounds=(0, 1))
    assert measured["n"] == 30  # once, for one network and four pipelines
    assert measured["norm"] == pytest.approx(attacked.norms.mean())
    for name, pipeline in pipelines.items():
        before, after = (
            pipeline.predict_proba(part).max(axis=1) for part in (chosen, attacked.adversarial)
        )
        found = measured["confidences"][name]
        assert found["attacked"] == pytest.approx(after.mean(), abs=1e-5)
        assert found["rises"] == (after > before).sum()


def test_unknown_pictures_are_told_by_confidences_and_by_log_densities(evaluation, pipelines):
    measured = _run(evaluation)["unknown"]
    assert list(measured) == ["noisy", "uniform noise", "inverted pictures", "shuffled pixels"]
    is_known = np.repeat([1, 0], [N_TEST, 50])
    both = np.vstack([X_TEST, _noisy()])
    softmax = pipelines["softmax"].predict_proba(both).max(axis=1)
    density = pipelines["density"].score_samples(both)
    found = {name: value["auroc"] for name, value in measured["noisy"].items()}
    assert found["softmax"] == pytest.approx(roc_auc_score(is_known, softmax), abs=1e-4)
    assert found["density, log p(z)"] == pytest.approx(roc_auc_score(is_known, density))
    assert "bayes, log p(z)" not in found


def test_pictures_made_of_others_are_what_they_are_called():
    make, draw = experiments.unknown._MADE, np.random.default_rng(0)
    colour = draw.integers(0, 256, (3, 3, 5, 4), np.uint8)
    for pixels in (X_TEST, colour):
        made = {name: function(pixels, draw) for name, function in make.items()}
        assert all((m.dtype, m.shape) == (pixels.dtype, pixels.shape) for m in made.values())
    as_set = [sorted(map(tuple, picture.reshape(3, -1).T)) for picture in colour]
    shuffled = [sorted(map(tuple, p.reshape(3, -1).T)) for p in made["shuffled pixels"]]
    assert shuffled == as_set  # channels stay together
    assert (made["shuffled pixels"] != colour).any()
    np.testing.assert_array_equal(made["inverted pictures"], 255 - colour)


def test_rows_are_a_table_of_who_is_better(evaluation, pipelines):
    frame = pd.DataFrame(evaluation.rows())
    assert list(frame) == ["measure", "pictures", *pipelines, "better"]
    ece = frame[
        (frame["measure"] == "calibration (expected error)") & (frame["pictures"] == "blur")
    ]
    values = ece[list(pipelines)].iloc[0]
    assert ece["better"].item() == values.idxmin()
    assert set(frame["better"]) <= {*pipelines, "even"}


def test_printing_shows_every_table(evaluation):
    assert repr(evaluation) == (
        "<Evaluation of softmax, density, hidden, bayes: "
        "clean, sweep, strips, attack, scales, unknown>"
    )
    text = str(evaluation)
    assert f"10 classes · {N_TEST} held-out pictures · accuracy: softmax" in text
    for part in ("Distorted more and more: JPEG quality", "Adversarial pictures", "× 100"):
        assert part in text


@pytest.mark.parametrize(("n_classes", "shown"), [(1, [0]), (2, [0, 1]), (3, [0, 2]), (9, [3, 5])])
def test_single_pictures_are_of_different_classes(n_classes, shown, network):
    of_classes = np.flatnonzero(np.isin(Y, np.arange(n_classes)))
    given = X_TEST[of_classes], Y[of_classes]
    evaluation = evaluate(fitted(network), *given, cases=["strips"], severities={"JPEG": [90, 9]})
    assert [s["label"] for s in _run(evaluation)["strips"] if s["distortion"] == "JPEG"] == shown


class _Page(HTMLParser):
    """Tags and addresses of a page, and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.addresses, self.words = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href")]

    def handle_data(self, data):
        self.words += data


def test_saving_writes_report_results_and_figures(evaluation, tmp_path):
    path = evaluation.save(tmp_path / "out", formats=["png"])
    assert path == tmp_path / "out" / "report.html"
    figures = {f"{name}.{kind}" for name in evaluation.figures() for kind in ("svg", "png")}
    assert {"sweep.svg", "strips.svg", "attack.svg", "scales.svg"} <= figures
    names = {file.name for file in path.parent.iterdir()}
    assert names == figures | {"report.html", "results.json"}
    assert json.loads((path.parent / "results.json").read_text("utf-8")) == evaluation.results
    page = _Page(path.read_text("utf-8"))
    assert "script" not in page.tags
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    assert page.tags.count("img") == 6 * 6  # 2 pictures by 3 distortions by 6 severities
    assert "hidden is better at" in page.words


def test_names_are_text_whatever_they_are(network, tmp_path):
    pipelines = {"<b>&softmax": fitted(network)["softmax"]}
    evaluation = evaluate(pipelines, X_TEST[:20], Y[:20], cases=["clean", "strips"])
    page = _Page(evaluation.save(tmp_path).read_text("utf-8"))
    assert "b" not in page.tags
    assert "<b>&softmax" in page.words


def test_what_fails_to_be_saved_leaves_nothing(network, tmp_path):
    evaluation = evaluate(fitted(network), X_TEST, Y, cases=["clean", "scales"])
    evaluation.save(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="nonsense"):
        evaluation.save(tmp_path, formats=["nonsense"])
    with pytest.raises(ValueError, match="nonsense"):
        evaluation.save(tmp_path / "new", formats=["nonsense"])
    with pytest.raises(ValueError, match=r"formats must be a list of some of .*, got 'png'"):
        evaluation.save(tmp_path / "new", formats="png")
    assert not (tmp_path / "new").exists()
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_pipelines_that_share_a_network_run_it_once(tmp_path):
    log = tmp_path / "passes.txt"
    pipelines = fitted(Logging(log))
    pipelines["copy"] = pickle.loads(pickle.dumps(pipelines["density"]))
    log.unlink()
    evaluate(pipelines, X_TEST, Y, cases=["clean"])
    assert rows_passed(log) == N_TEST + 1  # and the first picture, on which all is tried


def test_an_extractor_that_cannot_be_hashed_is_run_for_itself(network):
    lock = threading.Lock()

    def preprocess(picture):
        with lock:
            return torch.from_numpy(np.asarray(picture, np.float32) / 255)[None]

    pictures = list(PICTURES[-30:])
    extractor = FeatureExtractor(network, preprocessing=preprocess)
    pipelines = {
        name: make_pipeline(extractor, GaussianDensityClassifier()).fit(pictures, Y[-30:])
        for name in ("one", "other")
    }
    found = _run(evaluate(pipelines, pictures, Y[-30:], cases=["clean"]))["clean"]["confidences"]
    assert found["one"] == found["other"]


def test_an_interrupted_call_goes_on_from_what_networks_computed(tmp_path, monkeypatch):
    log = tmp_path / "passes.txt"
    pipelines = fitted(Logging(log))
    ask = {"cases": ["sweep", "attack", "unknown"], "memory": tmp_path / "kept", "n_attacked": 10}

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(experiments.unknown, "_inverted", interrupt)
        patch.setitem(experiments.unknown._MADE, "inverted pictures", interrupt)
        with pytest.raises(KeyboardInterrupt):
            evaluate(pipelines, X_TEST, Y, **ask)
    log.unlink()
    first = evaluate(pipelines, X_TEST, Y, **ask)
    assert rows_passed(log) == 2 * N_TEST  # inverted and shuffled pictures, no attack, no sweep
    log.unlink()
    second = evaluate(pipelines, X_TEST, Y, **ask)
    assert rows_passed(log) == 0
    assert {**_run(second), "seconds": 0} == {**_run(first), "seconds": 0}
    assert pipelines["density"][0].memory is None  # the user's own is left alone


def _as_tensor(X):
    return torch.from_numpy(X)


def _as_uint8(X):
    return np.rint(X * 255).astype(np.uint8)


ARRAYS = {
    "tensor": (_as_tensor, {}, {}),
    "float64": (lambda X: X.astype(np.float64), {}, {}),
    "rows": (lambda X: X.reshape(len(X), -1), {"input_shape": (1, 8, 8)}, {}),
    "without a channel": (lambda X: X[:, 0], {"input_shape": (1, 8, 8)}, {}),
    "uint8": (_as_uint8, {}, {}),
    "uint8, channels last": (lambda X: np.moveaxis(_as_uint8(X), 1, -1), {}, {}),
}


@pytest.mark.parametrize("form", ARRAYS)
def test_the_same_pictures_measure_the_same_in_every_form(form, network):
    convert, of_extractor, asked = ARRAYS[form]
    cases = ["clean", "sweep", "attack", "scales"]
    options = {"cases": cases, "severities": {"noise": [0, 0.1], "JPEG": [90, 10]}}
    wanted = _run(evaluate(fitted(network), X_TEST[:40], Y[:40], **options, n_attacked=5))
    pipelines = fitted(network, convert(X_TRAIN), **of_extractor)
    given = convert(X_TEST[:40])
    found = _run(evaluate(pipelines, given, Y[:40], **options, **asked, n_attacked=5))
    tolerance = 5e-3 if form.startswith("uint8") else 1e-5  # distorted pixels are rounded
    for name in pipelines:
        for case in ("clean", "scales"):
            means = [run[case]["confidences"][name]["mean"] for run in (found, wanted)]
            assert means[0] == pytest.approx(means[1], abs=1e-5)
        jpegs = [run["sweep"]["JPEG"]["confidences"][name]["mean"] for run in (found, wanted)]
        assert jpegs[0] == pytest.approx(jpegs[1], abs=1e-5)
        noisy = [run["sweep"]["noise"]["confidences"][name]["mean"] for run in (found, wanted)]
        assert noisy[0] == pytest.approx(noisy[1], abs=max(tolerance, 2e-2))  # keyed by the bytes
    assert found["attack"]["norm"] == pytest.approx(wanted["attack"]["norm"], rel=1e-4)


def _files(folder, pictures):
    folder.mkdir()
    paths = [folder / f"{i}.png" for i in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        Image.fromarray(picture).save(path)
    return paths


@pytest.mark.parametrize("kind", ["paths", "strings", "series", "images", "arrays"])
def test_pictures_given_one_by_one_measure_as_their_array(kind, network, tmp_path):
    pictures = PICTURES[-30:]
    paths = _files(tmp_path / "pictures", pictures)
    given = {
        "paths": paths,
        "strings": np.array([str(path) for path in paths]),
        "series": pd.Series([str(path) for path in paths]),
        "images": [Image.fromarray(picture) for picture in pictures],
        "arrays": list(pictures),
    }[kind]
    pipelines = fitted(network, input_shape=(1, 8, 8))
    asked = {"cases": ["clean", "sweep", "strips", "unknown"]}
    found, wanted = (
        _run(evaluate(pipelines, pixels, Y[-30:], **asked)) for pixels in (given, pictures)
    )
    for case in ("clean", "sweep", "strips"):
        assert found[case] == wanted[case]
    assert found["unknown"].keys() == wanted["unknown"].keys()


def test_pictures_of_several_sizes_are_distorted_before_preprocessing(network, tmp_path):
    def preprocess(picture):
        small = picture.convert("L").resize((8, 8))
        return torch.from_numpy(np.asarray(small, np.float32) / 255)[None]

    sizes = [(24, 20), (17, 33), (40, 40)] * 8
    resized = [
        np.asarray(Image.fromarray(picture).convert("RGB").resize(size))
        for picture, size in zip(PICTURES[-24:], sizes, strict=True)
    ]
    paths = _files(tmp_path / "pictures", resized)
    extractor = FeatureExtractor(network, preprocessing=preprocess)
    density = make_pipeline(extractor, GaussianDensityClassifier()).fit(paths, Y[-24:] % 3)
    given = {"density": density}, paths, Y[-24:] % 3
    with pytest.raises(ValueError, match="unknown has 'inverted pictures', which is made here"):
        evaluate(*given, unknown={"inverted pictures": list(PICTURES[:9])})
    evaluation = evaluate(*given, unknown={"digits": list(PICTURES[:9])})
    assert set(evaluation.results["left_out"]) == {"attack", "scales"}
    blurred = [
        Image.fromarray(gaussian_blur(picture, 0.1 * max(picture.shape), channel_axis=-1))
        for picture in resized
    ]
    found = _run(evaluation)["sweep"]["blur"]["confidences"]["density"]["mean"][-1]
    wanted = density.predict_proba(blurred).max(axis=1).mean()
    assert found == pytest.approx(wanted, abs=1e-6)
    evaluation.save(tmp_path / "out")


def test_any_classifier_of_rows_is_evaluated_with_their_shape_and_range():
    model = LogisticRegression(max_iter=2000).fit(PIXELS[:N_TRAIN], Y_TRAIN)
    rows = PIXELS[-N_TEST:]
    ask = {"pixel_range": (0, 16), "input_shape": (8, 8)}
    evaluation = evaluate({"logistic": model}, rows, Y, **ask, unknown={"zeros": rows * 0})
    assert list(evaluation.results["left_out"]) == ["attack"]
    run = _run(evaluation)
    blurred = gaussian_blur(rows.reshape(-1, 8, 8), 0.8, pixel_range=(0, 16)).reshape(-1, 64)
    found = run["sweep"]["blur"]["confidences"]["logistic"]["mean"][-1]
    assert found == pytest.approx(model.predict_proba(blurred).max(axis=1).mean())
    at_2 = run["scales"]["confidences"]["logistic"]["mean"][1]
    assert at_2 == pytest.approx(model.predict_proba(2 * rows).max(axis=1).mean())
    assert run["unknown"]["zeros"]["logistic"]["auroc"] > 0.9


def test_a_network_of_pixels_in_another_range_is_attacked_in_that_range(network):
    wide = nn.Sequential(_Divided(), *network)
    pipelines = fitted(wide, X_TRAIN * 16)
    asked = {"cases": ["attack"], "n_attacked": 10}
    found = evaluate(pipelines, X_TEST * 16, Y, pixel_range=(0, 16), **asked)
    wanted = evaluate(fitted(network), X_TEST, Y, **asked)
    for key in ("fooled", "norm"):  # norms are in pixels 0-1
        assert _run(found)["attack"][key] == pytest.approx(_run(wanted)["attack"][key], rel=1e-3)


class _Divided(nn.Module):
    def forward(self, X):
        return X / 16


def test_each_of_several_networks_is_attacked_itself(network):
    one, other = fitted(network)["density"], fitted(trained(seed=1))["density"]
    pipelines = {"one": one, "other": other}
    both = _run(evaluate(pipelines, X_TEST, Y, cases=["attack"], n_attacked=20))["attack"]
    assert both["n"] == 40
    for name, model in pipelines.items():
        alone = evaluate({name: model}, X_TEST, Y, cases=["attack"], n_attacked=20)
        assert both["confidences"][name] == pytest.approx(
            _run(alone)["attack"]["confidences"][name], abs=1e-6
        )


def test_labels_may_be_words(network):
    words = np.array([f"digit {label}" for label in range(10)])
    pipelines = fitted(network, y=words[Y_TRAIN])
    evaluation = evaluate(pipelines, X_TEST, words[Y], cases=["clean", "strips"])
    plain = evaluate(fitted(network), X_TEST, Y, cases=["clean"])
    assert _run(evaluation)["clean"] == _run(plain)["clean"]
    assert all(strip["label"] in words for strip in _run(evaluation)["strips"])


def test_one_pipeline_alone_has_nothing_to_win(network, tmp_path):
    alone = {"density": fitted(network)["density"]}
    evaluation = evaluate(alone, X_TEST[:30], Y[:30], cases="clean")
    assert evaluation.rows() == []
    assert "nothing that was measured" not in evaluation.save(tmp_path).read_text("utf-8")


def test_the_seconds_are_said_if_asked_for(network, capsys):
    evaluate(fitted(network), X_TEST[:10], Y[:10], cases=["clean"])
    assert capsys.readouterr() == ("", "")
    evaluate(fitted(network), X_TEST[:10], Y[:10], cases=["clean"], verbose=1)
    assert re.search(r"clean: \d+\.\d s", capsys.readouterr().err)


ONE_FILE = """
from sklearn_densconf.evaluation._case import Case
from sklearn_densconf.evaluation._tables import Table

def measure(trial):
    correct, confidences = trial.outcomes([lambda pixels: pixels[..., ::-1]], "mirrored")
    return {name: float(values.mean()) for name, values in confidences.items()}

def tables(shown):
    yield "", Table(["confidence", "mirrored"], [[k, f"{v:.3f}"] for k, v in shown.runs[0].items()])

CASE = Case("mirror", "Mirrored pictures", 25, measure, lambda shown: "Left is right.", tables)
"""


def test_adding_an_experiment_is_adding_one_file(pipelines, tmp_path, monkeypatch):
    (tmp_path / "mirror.py").write_text(ONE_FILE)
    monkeypatch.setattr(experiments, "__path__", [*experiments.__path__, str(tmp_path)])
    name = f"{experiments.__name__}.mirror"
    try:
        evaluation = evaluate(pipelines, X_TEST, Y, cases=["mirror", "clean"])
        assert list(load_cases()) == [
            "clean", "sweep", "mirror", "strips", "attack", "scales", "unknown"
        ]  # fmt: skip
    finally:
        sys.modules.pop(name, None)
        experiments.__dict__.pop("mirror", None)
    mirrored = pipelines["density"].predict_proba(X_TEST[..., ::-1].copy()).max(axis=1).mean()
    assert _run(evaluation)["mirror"]["density"] == pytest.approx(mirrored, abs=1e-6)
    page = evaluation.save(tmp_path / "out").read_text("utf-8")
    assert "Mirrored pictures" in page
    assert "Left is right." in page


def _broken(folder):
    path = folder / "broken.png"
    path.write_bytes(b"no picture")
    return path


WRONG = {
    "no mapping": (lambda p, f: (p["softmax"], X_TEST, Y), {}, "must be a mapping of names"),
    "no pipeline": (lambda p, f: ({}, X_TEST, Y), {}, "must be a mapping of names"),
    "no predict_proba": (
        lambda p, f: ({"svc": LinearSVC().fit(PIXELS, LABELS)}, X_TEST, Y),
        {},
        r"'svc' has no predict_proba, .*CalibratedClassifierCV",
    ),
    "lengths": (lambda p, f: (p, X_TEST, Y[:-1]), {}, "inconsistent numbers of samples"),
    "labels": (
        lambda p, f: (p, X_TEST, Y + 5),
        {},
        r"y has the labels \[10, 11, 12, 13, 14\], which pipeline 'softmax' was not fitted with",
    ),
    "case": (lambda p, f: (p, X_TEST, Y), {"cases": ["clear"]}, r"cases must be of \['clean'"),
    "no case": (lambda p, f: (p, X_TEST, Y), {"cases": []}, r"cases must be of \['clean'"),
    "range": (lambda p, f: (p, X_TEST * 2, Y), {}, r"in \[0, 1\], got 0 to 2: set pixel_range"),
    "empty range": (lambda p, f: (p, X_TEST, Y), {"pixel_range": (1, 0)}, "must be .lowest, high"),
    "integers": (lambda p, f: (p, PICTURES.astype(int), LABELS), {}, "uint8 or floating, got int"),
    "rows": (
        lambda p, f: ({"nb": GaussianNB().fit(PIXELS, LABELS)}, PIXELS / 16, LABELS),
        {},
        r"X has 64 columns, got input_shape=None: .*; for a table, take sklearn_densconf\.metrics",
    ),
    "text": (lambda p, f: (p, ["a"] * 2, Y[:2]), {}, "there is no picture 'a'"),
    "numbers": (lambda p, f: (p, np.zeros(3), Y[:3]), {}, "X must be pictures: an array of 2 to 4"),
    "broken": (lambda p, f: (p, [_broken(f)], Y[:1]), {}, "cannot decode the picture .*broken.png"),
    "severity": (
        lambda p, f: (p, X_TEST, Y),
        {"severities": {"noise": [0, 2]}},
        r"severities\['noise'\] 2: sigma must lie in \[0, 1\]",
    ),
    "distortion": (
        lambda p, f: (p, X_TEST, Y),
        {"severities": {"fog": [0, 1]}},
        r"severities must be of \['noise', 'blur', 'JPEG'\], got \['fog'\]",
    ),
    "strongest first": (
        lambda p, f: (p, X_TEST, Y),
        {"severities": {"noise": [0.5, 0.1, 0]}},
        r"severities\['noise'\] must have the mildest first, got .*: give \[0, 0.1, 0.5\]",
    ),
    "no order": (
        lambda p, f: (p, X_TEST, Y),
        {"severities": {"JPEG": [100, 5, 50]}},
        r"severities\['JPEG'\] must have the mildest first, got .*: give \[100, 50, 5\]",
    ),
    "16 bits": (
        lambda p, f: (p, [_deep(f)], Y[:1]),
        {},
        "cannot decode the picture .*deep.png.*: it has more than 8 bits .mode 'I;16'.: give arr",
    ),
    "one severity": (
        lambda p, f: (p, X_TEST, Y),
        {"severities": {"blur": [0]}},
        "needs at least two severities, all different",
    ),
    "no attack": (lambda p, f: (p, X_TEST, Y), {"n_attacked": 0}, "n_attacked must be at least 1"),
    "unknown of another shape": (
        lambda p, f: (p, X_TEST, Y),
        {"unknown": {"flat": PIXELS}},
        r"unknown\['flat'\] has pictures of shape \(64,\) and dtype float64, X of \(1, 8, 8\)",
    ),
    "unknown of another kind": (
        lambda p, f: (p, list(PICTURES), LABELS),
        {"unknown": {"array": PICTURES}},
        r"unknown\['array'\] must be a list of paths or pictures, as X is",
    ),
    "attack without gradients": (
        lambda p, f: (
            {"nb": GaussianNB().fit(PIXELS, LABELS)}, PIXELS, LABELS
        ),
        {"cases": ["attack"], "pixel_range": (0, 16), "input_shape": (8, 8)},
        "case 'attack' cannot be measured: no pipeline begins with a FeatureExtractor",
    ),
    "uint8 beyond their range": (
        lambda p, f: ({"nb": GaussianNB().fit(PIXELS, LABELS)}, np.uint8(PIXELS), LABELS),
        {"cases": ["scales"], "input_shape": (8, 8)},
        "case 'scales' cannot be measured: uint8 pixels cannot be multiplied",
    ),
    "files beyond their range": (
        lambda p, f: (p, list(PICTURES), LABELS),
        {"cases": ["scales"]},
        "case 'scales' cannot be measured: pictures that are given one by one",
    ),
    "strips of many channels": (
        lambda p, f: (_of_two_channels(), np.repeat(X_TEST, 2, axis=1), Y),
        {"cases": ["strips"]},
        "case 'strips' cannot be measured: pictures have 2 channels",
    ),
}  # fmt: skip


def _deep(folder):
    path = folder / "deep.png"
    Image.fromarray(PICTURES[0].astype(np.uint16) * 257).save(path)
    return path


def test_pictures_of_any_mode_are_read_as_pipelines_read_them(network, tmp_path):
    paths, models = (
        [tmp_path / f"{n}.png" for n in range(60)],
        fitted(network, input_shape=(1, 8, 8)),
    )
    for n, path in enumerate(paths):
        ground = Image.fromarray(255 - PICTURES[-60 + n])
        alpha = Image.fromarray(PICTURES[-60 + n])  # the digit, black, before what is transparent
        Image.merge("LA", (ground, alpha)).save(path)
    found = _run(evaluate(models, paths, Y[-60:], cases=["clean"]))["clean"]["confidences"]
    for name, model in models.items():
        mean = model.predict_proba(paths).max(axis=1).mean()
        assert found[name]["mean"] == [pytest.approx(mean, abs=1e-6)]


def test_a_confidence_of_0_in_clean_pictures_leaves_no_fraction():
    measured = measure_sweep([0, 1], np.array([[1], [0]]), {"a": np.array([[0.0], [0.5]])})
    assert measured["confidences"]["a"]["left"] is None


def _of_two_channels():
    """Return pipelines of a trained network: logits of one that is not may seem out of order."""
    average = nn.Conv2d(2, 1, 1, bias=False)
    nn.init.constant_(average.weight, 0.5)
    return fitted(nn.Sequential(average, trained()), np.repeat(X_TRAIN, 2, axis=1))


@pytest.mark.parametrize("name", WRONG)
def test_mistakes_are_told_before_anything_long_starts(name, pipelines, tmp_path):
    arguments, options, message = WRONG[name]
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        evaluate(*arguments(pipelines, tmp_path), **options)


def test_pictures_of_many_channels_are_evaluated_without_jpeg_and_strips():
    evaluation = evaluate(_of_two_channels(), np.repeat(X_TEST, 2, axis=1), Y, n_attacked=5)
    assert list(evaluation.results["left_out"]) == ["strips"]
    assert list(_run(evaluation)["sweep"]) == ["noise", "blur"]


def test_a_pipeline_that_is_not_fitted_is_refused(network):
    pipeline = make_pipeline(FeatureExtractor(network), SoftmaxClassifier())
    with pytest.raises(NotFittedError, match="not fitted yet"):
        evaluate({"softmax": pipeline}, X_TEST, Y)


def test_the_example_of_the_user_guide_runs(tmp_path, monkeypatch, capsys):
    guide = Path(__file__).parents[1] / "docs" / "user_guide.md"
    section = guide.read_text("utf-8").partition("## Evaluate your own network")[2]
    monkeypatch.chdir(tmp_path)
    exec(compile(section.split("```")[1].removeprefix("python"), guide.name, "exec"), {})
    assert "Out-of-distribution pictures" in capsys.readouterr().out
    assert (tmp_path / "evaluation" / "report.html").stat().st_size > 100_000


def test_importing_it_imports_neither_torch_nor_matplotlib():
    code = textwrap.dedent("""
        import sys, sklearn_densconf.evaluation
        from sklearn_densconf.evaluation.cases import load_cases
        load_cases()
        print({'torch', 'matplotlib', 'PIL'} & set(sys.modules))
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
