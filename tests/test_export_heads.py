"""Classifiers as torch modules and ONNX files, on features: the numbers of the package itself."""

import json

import numpy as np
import onnxruntime
import pytest
import torch
from sklearn.datasets import load_digits

from sklearn_densconf import GaussianDensityClassifier, OpenSetClassifier, SoftmaxClassifier
from sklearn_densconf.density._covariance_types import COVARIANCE_TYPES
from sklearn_densconf.export import to_onnx, to_torch
from sklearn_densconf.export._gaussians import Distance

pytestmark = pytest.mark.skipif(
    torch.__version__ < (2, 9), reason="older exporters of torch fix the size of the batch"
)
UNIT = 2.0**-24  # of float32
BLOCKS = {"one block": None, "two blocks": [30, 34]}
# Units that are constant in a class have a precision of 1e8: terms of "diag" reach 1e9 there, and
# cancel. The package rounds as much; sums in another order differ by that.
ROUNDING = dict.fromkeys(COVARIANCE_TYPES, 1e-9) | {"diag": 1e-7}
METHODS = {"probabilities": "predict_proba", "known": "known_proba", "score": "score_samples"}


@pytest.fixture(scope="module")
def digits():
    """Pixels of digits: some are constant, some in one class only; half of them lie at 1e4."""
    X, y = load_digits(return_X_y=True)
    return (X + 1e4 * (np.arange(64) >= 30)).astype(np.float32), y


@pytest.fixture(scope="module")
def logits(digits):
    y = digits[1]
    generator = np.random.default_rng(0)
    return (generator.normal(size=(len(y), 10)) + 4 * np.eye(10)[y]).astype(np.float32)


def _gaussian(digits, covariance_type, blocks, **parameters):
    shrinkage = 0.1 if covariance_type in ("tied", "full") else None
    return GaussianDensityClassifier(
        covariance_type, blocks=blocks, shrinkage=shrinkage, **parameters
    ).fit(*digits)


def _with_far_points(X):
    """Some samples, nearly equal ones, and such as lie where no class does."""
    middle = X.mean(axis=0, keepdims=True)
    far = middle + (X[:5] - middle) * np.float32([[1e2], [-1e4], [1e10], [1e25], [1e32]])
    return np.concatenate([X[:200], far.astype(np.float32), np.zeros_like(X[:1])])


def _check_equal(found, classifier, X, atol):
    features = X.astype(np.float64)
    assert np.array_equal(classifier.classes_[found["label"]], classifier.predict(features))
    for name, method in METHODS.items():
        assert (found.get(name) is not None) == hasattr(classifier, method)
        if found.get(name) is not None:
            wanted = getattr(classifier, method)(features)
            assert np.allclose(found[name], wanted, rtol=atol, atol=atol), name


def _of_module(classifier, X, precision="float64"):
    module = to_torch(classifier, precision=precision)
    return {
        name: None if value is None else value.numpy()
        for name, value in module(torch.from_numpy(X))._asdict().items()
    }


def _of_file(classifier, X, folder, **parameters):
    to_onnx(classifier, folder / "head.onnx", **parameters)
    session = onnxruntime.InferenceSession(folder / "head.onnx")
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"features": X}), strict=True))


@pytest.mark.parametrize("background", [0.0, 0.01])
@pytest.mark.parametrize("temperature", ["n_features", 1.0])
@pytest.mark.parametrize("blocks", BLOCKS)
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_the_module_of_a_gaussian_gives_its_numbers(
    digits, covariance_type, blocks, temperature, background
):
    classifier = _gaussian(
        digits, covariance_type, BLOCKS[blocks], temperature=temperature, background=background
    )
    X = _with_far_points(digits[0])

    _check_equal(_of_module(classifier, X), classifier, X, atol=ROUNDING[covariance_type])


@pytest.mark.parametrize("blocks", BLOCKS)
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_the_file_of_a_gaussian_gives_its_numbers(digits, covariance_type, blocks, tmp_path):
    background = 0.01 if blocks == "one block" else 0.0
    classifier = _gaussian(digits, covariance_type, BLOCKS[blocks], background=background)
    X = _with_far_points(digits[0])

    found = _of_file(classifier, X, tmp_path)

    _check_equal(found, classifier, X, atol=ROUNDING[covariance_type])


@pytest.mark.parametrize("covariance_type", ["spherical", "tied_diag", "tied", "full"])
def test_a_float32_file_gives_them_to_1e_5(digits, covariance_type, tmp_path):
    classifier = _gaussian(digits, covariance_type, [30, 34])
    X = digits[0][:200]

    found = _of_file(classifier, X, tmp_path, precision="float32")

    assert found["probabilities"].dtype == np.float32
    _check_equal(found, classifier, X, atol=1e-5)


@pytest.mark.parametrize("covariance_type", ["diag", "tied"])
def test_a_class_so_far_that_only_the_package_is_exact_is_not_written(tmp_path, covariance_type):
    generator, y = np.random.default_rng(0), np.repeat([0, 1, 2], 100)
    X = generator.normal(size=(300, 8))
    X[y > 0, 0] += 1e6
    X[y == 2, 0] += 3
    classifier = GaussianDensityClassifier(covariance_type, temperature=1.0, var_smoothing=0.0)
    with pytest.raises(RuntimeError, match="unless a class lies 1e5 of its standard deviations"):
        to_onnx(classifier.fit(X, y), tmp_path / "head.onnx")
    assert not list(tmp_path.iterdir())


def test_a_float32_file_that_is_too_wrong_is_not_written(digits, tmp_path):
    """A unit that is constant in one class and lively in others: P μ² drowns all else."""
    X = digits[0].copy()
    X[:, 7] += np.where(digits[1] == 3, 0, 1e3)
    classifier = GaussianDensityClassifier(var_smoothing=1e-14, temperature=1.0).fit(X, digits[1])

    with pytest.raises(RuntimeError, match=r"gives other (probabilities|score).*float64"):
        to_onnx(classifier, tmp_path / "head.onnx", precision="float32")

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_float32_keeps_to_its_bound(digits, covariance_type):
    """The bound in the docstring of `Distance`, whatever BLAS sums in which order."""
    X = torch.from_numpy(_with_far_points(digits[0])[:202])
    for block in _gaussian(digits, covariance_type, [30, 34])._head(np.zeros((1, 64))).blocks:
        gaussians, part = block.gaussians, X[:, block.columns]

        exact, found = (
            distance(distance.centred(part.to(dtype)))[0]
            for dtype in (torch.float64, torch.float32)
            for distance in [Distance(gaussians, dtype)]
        )

        d = part.shape[1]
        size = _sizes(gaussians, part.double().numpy())
        error = np.abs(found.double().numpy() - exact.numpy())
        assert (error <= 3 * (d + 8) * UNIT * size).all()


def _sizes(gaussians, X):
    """Sums of the absolute values of the terms of squared distances."""
    x = np.abs(X - gaussians.center)
    quadratic, linear, constant = gaussians.quadratic, np.abs(gaussians.linear), gaussians.constant
    if gaussians.covariance_type == "full":
        white = np.abs(quadratic) @ x.T  # (k, d, n)
        return ((white + np.abs(gaussians.linear)[:, :, None]) ** 2).sum(1).T
    if gaussians.covariance_type == "tied":
        return (x @ np.abs(quadratic).T) @ linear + constant
    more = quadratic - quadratic.min(axis=1, keepdims=True)
    squares = x**2 if len(more) > 1 else (x**2).sum(axis=1, keepdims=True)
    return squares @ more + x @ linear + constant


def test_absent_classes_priors_scale_and_the_label_rule_of_features_are_kept(logits, digits):
    y = digits[1]
    classifier = GaussianDensityClassifier(
        covariance_scale=3.0, predict_from="features", priors=[0, *[1 / 9] * 9]
    ).fit(logits, y)

    _check_equal(_of_module(classifier, logits), classifier, logits, atol=1e-9)


@pytest.mark.parametrize("temperature", [1.0, 3.7, "nll"])
def test_softmax_gives_its_numbers(logits, digits, temperature, tmp_path):
    names = np.array([f"class {9 - code}" for code in range(10)])
    y = names[digits[1]]
    classifier = SoftmaxClassifier(classes=names, temperature=temperature)
    classifier.fit(logits, y, X_val=logits, y_val=y)
    X = np.concatenate([logits, 1e6 * logits[:5]])

    _check_equal(_of_module(classifier, X), classifier, X, atol=1e-9)
    _check_equal(_of_file(classifier, X, tmp_path), classifier, X, atol=1e-9)


POSTERIORS = {
    "its own": None,
    "of features": GaussianDensityClassifier("tied", shrinkage=0.1, background=0.01),
    "of logits": SoftmaxClassifier(temperature=2.0),
}


def _open_set(digits, logits, posterior):
    X, y = np.hstack([digits[0], logits]), digits[1]
    if posterior == "of features":
        given = POSTERIORS[posterior].fit(digits[0], y)
    else:
        given = POSTERIORS[posterior]
    classifier = OpenSetClassifier(posterior=given, priors=np.r_[0.0, [1 / 9] * 9])
    return classifier.fit(X[::2], y[::2], X_val=X[1::2], y_val=y[1::2]), X


@pytest.mark.parametrize("posterior", POSTERIORS)
def test_the_open_set_classifier_gives_its_numbers(digits, logits, posterior, tmp_path):
    classifier, X = _open_set(digits, logits, posterior)
    X = np.concatenate([X[:200], -X[:9], np.zeros_like(X[:1]), X[:9] * np.float32(1e8)])

    _check_equal(_of_module(classifier, X), classifier, X, atol=1e-9)
    _check_equal(_of_file(classifier, X, tmp_path), classifier, X, atol=1e-9)


@pytest.mark.parametrize(
    ("k", "d", "apart", "precision"),
    [
        (4, 350, 1.0, "float64"),
        (4, 350, 1.0, "float32"),
        (12, 5, 1.0, "float64"),
        (12, 5, 1.0, "float32"),
        (3, 8, 300.0, "float64"),
    ],
)
def test_open_set_files_of_many_features_and_of_few(k, d, apart, precision, tmp_path):
    generator = np.random.default_rng(0)
    y = np.arange(40 * k) % k
    features = apart * generator.normal(size=(k, d))[y] + generator.normal(size=(len(y), d))
    logits = generator.normal(size=(len(y), k)) + 4 * np.eye(k)[y]
    X, half = np.hstack([features, logits]).astype(np.float32), len(y) // 2
    classifier = OpenSetClassifier().fit(X[:half], y[:half], X_val=X[half:], y_val=y[half:])
    X = np.concatenate([X, 1e-20 * X[:9], np.zeros_like(X[:1])])
    atol = 1e-9 if precision == "float64" else 1e-4

    found = _of_file(classifier, X, tmp_path, precision=precision)

    _check_equal(found, classifier, X, atol=atol)
    _check_equal(_of_module(classifier, X, precision), classifier, X, atol=atol)


def test_features_of_float64_are_not_rounded(digits, tmp_path):
    classifier = _gaussian(digits, "tied", None)
    X = digits[0].astype(np.float64) + np.random.default_rng(0).normal(size=digits[0].shape) * 1e-5

    found = _of_file(classifier, X, tmp_path, example=X[:1])

    _check_equal(found, classifier, X, atol=1e-9)
    rounded = classifier.predict_proba(X.astype(np.float32).astype(np.float64))
    assert np.abs(found["probabilities"] - rounded).max() > 1e-8  # what rounding would do


def test_the_file_tells_of_classes_and_versions(digits, tmp_path):
    X, y = digits
    labels = [7, 2**40, -3, *range(10, 17)]
    to_onnx(GaussianDensityClassifier().fit(X, np.array(labels)[y]), tmp_path / "head.onnx")

    session = onnxruntime.InferenceSession(tmp_path / "head.onnx")

    assert b"site-packages" not in (tmp_path / "head.onnx").read_bytes()  # paths of who wrote it
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["classes"]) == sorted(labels)
    assert about["classifier"] == "GaussianDensityClassifier"
    assert about["precision"] == "float64"
    assert json.loads(about["versions"]).keys() == {"sklearn_densconf", "torch", "scikit-learn"}


def test_a_feature_that_is_not_finite_has_no_label(digits, logits, tmp_path):
    classifier, X = _open_set(digits, logits, "of features")
    X, spoilt = X[:50].copy(), [0, 7, 49]
    wanted = classifier.predict_proba(X.astype(np.float64))
    X[0, 3], X[7, -1], X[49, :] = np.nan, np.inf, -np.inf

    for found in (_of_module(classifier, X), _of_file(classifier, X, tmp_path)):
        rest = np.setdiff1d(np.arange(50), spoilt)
        assert (found["label"][spoilt] == -1).all()
        for name in METHODS:
            assert np.isnan(found[name][spoilt]).all()
        assert (found["label"][rest] >= 0).all()
        assert np.allclose(found["probabilities"][rest], wanted[rest], rtol=0, atol=1e-9)


def test_parameters_that_were_set_after_fit_are_those_of_now(digits):
    classifier = _gaussian(digits, "tied", None).set_params(temperature=8.0)

    _check_equal(_of_module(classifier, digits[0]), classifier, digits[0], atol=1e-9)


def test_casts_and_autocast_leave_the_numbers_of_the_head(digits):
    classifier = _gaussian(digits, "tied", None)
    X = torch.from_numpy(digits[0][:50])
    for precision in ("float64", "float32"):
        module = to_torch(classifier, precision=precision)
        wanted = module(X).probabilities

        halved = to_torch(classifier, precision=precision).half()
        assert torch.equal(halved(X).probabilities, wanted)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(module(X).probabilities, wanted)


def test_a_single_logit_ranks_the_labels_of_densities(tmp_path):
    logits = np.random.default_rng(0).normal(size=(80, 1)).astype(np.float32)
    y = (logits[:, 0] > 0).astype(int)
    classifier = GaussianDensityClassifier(predict_from="features").fit(logits, y)
    for found in (_of_module(classifier, logits), _of_file(classifier, logits, tmp_path)):
        _check_equal(found, classifier, logits, atol=1e-9)
        np.testing.assert_array_equal(found["label"], y)


def test_a_posterior_that_was_fitted_to_sorted_logits_gets_them_so():
    labels, codes = np.array(["zero", "one", "two"]), np.arange(300) % 3
    features = np.random.default_rng(0).normal(size=(300, 8)) + 4 * np.eye(3, 8)[codes]
    X, y = np.hstack([features, features[:, :3]]).astype(np.float32), labels[codes]
    for posterior in (SoftmaxClassifier(), GaussianDensityClassifier()):
        classifier = OpenSetClassifier(classes=labels, posterior=posterior)
        classifier.fit(X[:200], y[:200], X_val=X[200:], y_val=y[200:])
        _check_equal(_of_module(classifier, X), classifier, X, atol=1e-9)


def test_a_single_logit_of_two_classes_gives_its_numbers():
    logits = np.random.default_rng(0).normal(size=(50, 1)).astype(np.float32)
    y = np.array(["no", "yes"])[(logits[:, 0] > 0).astype(int)]
    for classes in (None, ["yes", "no"]):
        y = y if classes is None else np.where(y == "yes", "no", "yes")
        classifier = SoftmaxClassifier(classes=classes, temperature=0.7).fit(logits, y)

        _check_equal(_of_module(classifier, logits), classifier, logits, atol=1e-9)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_a_classifier_of_one_class_is_exported(covariance_type, precision, tmp_path):
    X = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    classifier = GaussianDensityClassifier(covariance_type, background=0.1).fit(X, ["a"] * 20)
    confidence = to_torch(classifier, precision=precision)(torch.from_numpy(X))
    assert (confidence.probabilities == 1).all()
    np.testing.assert_allclose(confidence.score, classifier.score_samples(X), rtol=1e-5, atol=1e-5)
    to_onnx(classifier, tmp_path / "one.onnx", precision=precision)
