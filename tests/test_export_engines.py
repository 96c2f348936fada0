"""Exported files on onnxruntime and OpenVINO: tails, ties, NaN, and real pictures."""

import numpy as np
import onnxruntime
import openvino
import pytest
import torch
from sklearn.pipeline import make_pipeline

from sklearn_densconf import (
    FeatureExtractor,
    GaussianDensityClassifier,
    OpenSetClassifier,
    SoftmaxClassifier,
)
from sklearn_densconf.datasets import load_imagenet
from sklearn_densconf.export import to_onnx, to_torch
from sklearn_densconf.export._logarithms import log_add_exp, log_sigmoids, log_sum_exp

pytestmark = pytest.mark.skipif(
    torch.__version__ < (2, 9), reason="older exporters of torch fix the size of the batch"
)
ENGINES = ["onnxruntime", "openvino"]
TAILS = [-20.0, -100.0, -700.0]  # nats


def _run(engine, file, **inputs):
    if engine == "onnxruntime":
        session = onnxruntime.InferenceSession(file)
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, inputs), strict=True))
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    found = openvino.Core().compile_model(str(file), "CPU", hint)(inputs)
    return {key.get_any_name(): np.array(value) for key, value in found.items()}


class Mixtures(torch.nn.Module):
    """The three mixtures that the heads are made of, as an ONNX file."""

    def forward(self, X):
        either = log_add_exp(X, X.flip(1) - 1)
        return log_sigmoids(X)[0], either, log_sum_exp(X)


@pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.:FutureWarning")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("engine", ENGINES)
def test_mixtures_keep_their_tails(engine, dtype, tmp_path):
    ends = [*TAILS, 0.0, *(-tail for tail in TAILS)]
    X = np.array([(a, b) for a in ends for b in ends], dtype)
    names = {"input_names": ["X"], "output_names": ["a", "b", "c"]}
    program = torch.onnx.export(Mixtures().eval(), (torch.from_numpy(X),), **names, verbose=False)
    program.save(tmp_path / "mixtures.onnx")

    found = _run(engine, tmp_path / "mixtures.onnx", X=X)

    exact = X.astype(np.float64)
    is_double = dtype == np.float64 and engine == "onnxruntime"
    # OpenVINO makes a softplus of 1 + exp, which is right to the rounding of what it is of.
    rounding = 1e-15 if is_double else 1e-5 if engine == "openvino" else 1e-6
    close = {"rtol": 1e-15 if is_double else 1e-6, "atol": rounding}
    assert np.allclose(found["a"], -np.logaddexp(0, -exact), **close)
    assert np.allclose(found["b"], np.logaddexp(exact, exact[:, ::-1] - 1), **close)
    assert np.allclose(found["c"][:, 0], np.logaddexp.reduce(exact, axis=1), **close)


@pytest.fixture(scope="module")
def open_set():
    """Directions in five dimensions: the farther from the classes', the less familiar."""
    generator = np.random.default_rng(0)
    y = generator.integers(0, 3, 900)
    features = 5 * np.eye(3, 5)[y] + generator.normal(size=(900, 5)) + 3
    logits = 4 * np.eye(3)[y] + generator.normal(size=(900, 3))
    X = np.hstack([features, logits]).astype(np.float32)
    classifier = OpenSetClassifier().fit(X[:600], y[:600], X_val=X[600:], y_val=y[600:])
    return classifier, X


@pytest.fixture(scope="module", params=["float64", "float32"])
def of_open_set(request, open_set, tmp_path_factory):
    file = tmp_path_factory.mktemp("files") / "head.onnx"
    to_onnx(open_set[0], file, precision=request.param)
    return file


@pytest.mark.parametrize("engine", ENGINES)
def test_the_score_of_what_is_unlike_anything_keeps_its_tail(engine, of_open_set, open_set):
    classifier, X = open_set
    away = np.linspace(0, 1, 400)[:, None]
    X = np.hstack([X[:400, :5] * (1 - away) - away * 9, X[:400, 5:]]).astype(np.float32)

    found = _run(engine, of_open_set, features=X)

    wanted = classifier.score_samples(X.astype(np.float64))
    assert wanted.min() < -100
    assert np.allclose(found["score"], wanted, rtol=1e-5, atol=1e-4)
    assert np.allclose(found["known"], classifier.known_proba(X), rtol=0, atol=1e-5)
    assert np.allclose(found["probabilities"], classifier.predict_proba(X), rtol=0, atol=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_not_finite_has_no_label_and_changes_no_other_row(
    engine, value, of_open_set, open_set
):
    classifier, X = open_set
    for row in (0, 3, 31):  # engines lose a NaN in some rows only
        spoilt = X[:32].copy()
        spoilt[row, row % 8] = value

        found = _run(engine, of_open_set, features=spoilt)

        others = np.delete(np.arange(32), row)
        assert found["label"][row] == -1
        assert np.isnan(found["probabilities"][row]).all()
        assert np.isnan([found["known"][row], found["score"][row]]).all()
        assert np.array_equal(found["label"][others], classifier.predict(X[others]))
        wanted = classifier.predict_proba(X[others])
        assert np.allclose(found["probabilities"][others], wanted, rtol=0, atol=1e-5)


def test_a_background_takes_over_at_every_depth(tmp_path):
    """Where classes fall below the background by so many nats, as (1 - ε) p + ε p₀ says."""
    X = np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32)
    y = (X[:, 0] > 0).astype(int)
    classifier = GaussianDensityClassifier("tied", temperature=1.0, background=0.5).fit(X, y)
    to_onnx(classifier, tmp_path / "head.onnx")
    depth = np.sqrt(-2 * np.array(TAILS) / 0.75)  # the background's variance is 4 times theirs
    rays = (depth[:, None] * np.linspace(0.2, 1.5, 50)).reshape(-1, 1) * [0.6, 0.8]
    points = rays.astype(np.float32)

    wanted = classifier.predict_proba(points.astype(np.float64))
    for engine in ENGINES:
        found = _run(engine, tmp_path / "head.onnx", features=points)
        assert np.allclose(found["probabilities"], wanted, rtol=0, atol=1e-5)


def test_ties_go_to_the_first_label(tmp_path):
    classifier = SoftmaxClassifier().fit(np.eye(6) * 5, np.arange(6))
    X = np.array([[0, 1, 1, 0, 1, 0], [2, 2, 2, 2, 2, 2], [0, 0, 0, 0, 3, 3]], np.float32)
    to_onnx(classifier, tmp_path / "head.onnx")

    for engine in ENGINES:
        found = _run(engine, tmp_path / "head.onnx", features=X)
        assert found["label"].tolist() == [1, 0, 4] == classifier.predict(X).tolist()


@pytest.mark.slow
def test_mobilenet_on_real_pictures_gives_the_same_from_pixels(
    imagenet_folder, imagenet_net, tmp_path
):
    pictures = load_imagenet(imagenet_folder, split="train")
    chosen = np.concatenate([np.flatnonzero(pictures.y == k)[:6] for k in np.unique(pictures.y)])
    X = np.stack([imagenet_net.preprocess(pictures.paths[index]).numpy() for index in chosen])
    y, network = pictures.y[chosen], imagenet_net.mobilenet_v2(np.unique(pictures.y).tolist())
    extractor = FeatureExtractor(network, layer=["features", "output"], device="cpu")
    pipe = make_pipeline(extractor, OpenSetClassifier()).fit(X[::2], y[::2])
    X = X[1::2]
    wanted, labels = pipe.predict_proba(X), pipe.predict(X)

    to_onnx(pipe, tmp_path / "model.onnx", example=X[:2])

    with torch.inference_mode():
        of_module = to_torch(pipe)(torch.from_numpy(X))._asdict()
    found = {engine: _run(engine, tmp_path / "model.onnx", samples=X) for engine in ENGINES}
    found["torch"] = {name: each.numpy() for name, each in of_module.items()}
    for each in found.values():
        assert np.abs(each["probabilities"] - wanted).max() < 1e-4
        assert np.array_equal(pipe.classes_[each["label"]], labels)
