"""Numbers and files that must stay as they are, whatever becomes of the code behind them.

``python tests/golden.py`` writes them to ``tests/data``, as the code gives them now:
test_golden.py then holds all later code to them. Run it only where a number is meant to change.
"""

import contextlib
import gzip
import io
import json
from pathlib import Path

import joblib
import numpy as np
import torch
from networks import Convolutional
from PIL import Image
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from torch import nn

from sklearn_densconf import (
    ConformalRejector,
    DensityClassifier,
    FeatureExtractor,
    GaussianDensityClassifier,
    OpenSetClassifier,
    SoftmaxClassifier,
    distributed,
)
from sklearn_densconf import io as densconf

DATA = Path(__file__).resolve().parent / "data"
TYPES = ("diag", "spherical", "tied_diag", "tied", "full")
CLASSES = np.array(["a", "b", "c"])
WEIGHTS = np.tile([1.0, 2.0, 0.25, 0.5], 15)
SCORES = (
    "predict",
    "predict_proba",
    "predict_log_proba",
    "predict_joint_log_proba",
    "score_samples",
    "mahalanobis",
    "typicality",
    "confidence",
)
LEARNED = ("class_count_", "class_prior_", "means_", "covariances_", "shrinkage_")
PARAMETERS = {
    "plain Bayes": {"temperature": 1.0},
    "another temperature": {"temperature": 2.5},
    "the paper taken literally": {"temperature": 1.0, "covariance_scale": "n_features"},
    "another scale": {"covariance_scale": 0.5},
    "no smoothing": {"var_smoothing": 0.0},
    "much smoothing": {"var_smoothing": 0.01},
    "uniform priors": {"priors": "uniform"},
    "priors": {"priors": [0.2, 0.3, 0.5]},
    "a background": {"background": 0.01},
    "a background, plain Bayes": {"background": 0.3, "temperature": 1.0},
    "everything": {
        "temperature": 3.0,
        "covariance_scale": 2.0,
        "var_smoothing": 1e-3,
        "priors": [0.5, 0.25, 0.25],
        "background": 0.05,
    },
}
SHRINKAGES = {
    "shrunk": {"shrinkage": 0.3},
    "wholly shrunk": {"shrinkage": 1.0},
    "shrunk by itself": {"shrinkage": "auto"},
}


def _rounded(values):
    """Return values on a grid that float32 holds, and that no CPU rounds otherwise."""
    return np.round(values * 64) / 64


def _samples():
    """Return samples to fit (60, 4), their labels, and samples to score, the last three far."""
    rng = np.random.default_rng(0)
    codes = np.arange(60) % 3
    mix = rng.normal(size=(4, 4)) + np.eye(4)
    X = _rounded(rng.normal(size=(60, 4)) @ mix + codes[:, None] * [1.0, -0.5, 0.0, 2.0])
    near = _rounded(rng.normal(size=(3, 4)) @ mix + 1.0)
    far = near * [[64.0], [2.0**20], [2.0**100]]
    return X, CLASSES[codes], np.vstack([near, far])


X, Y, SCORED = _samples()


def described(classifier, scored):
    """Return all that a fitted classifier says of samples, as plain lists with their dtypes."""
    labels = classifier.classes_[np.arange(len(scored)) % len(classifier.classes_)]
    said = {name: getattr(classifier, name)(scored) for name in SCORES if hasattr(classifier, name)}
    for name in {"confidence", "typicality"} & set(said):
        said[f"{name} of labels"] = getattr(classifier, name)(scored, labels)
    said |= {name: getattr(classifier, name) for name in LEARNED if hasattr(classifier, name)}
    return {name: [str(value.dtype), value.tolist()] for name, value in sorted(said.items())}


def _gaussian_cases(covariance_type):
    """Yield the name of each case, its classifier, and the samples to score."""

    def gaussian(**parameters):
        return GaussianDensityClassifier(covariance_type, **parameters)

    def parts(**parameters):
        return [
            gaussian(**parameters).partial_fit(X[part], Y[part], CLASSES, WEIGHTS[part])
            for part in (slice(0, 7), slice(7, 50), slice(50, 60))
        ]

    matrix = covariance_type in ("tied", "full")
    for name, parameters in {
        "as it is": {},
        **PARAMETERS,
        **(SHRINKAGES if matrix else {}),
    }.items():
        yield name, gaussian(**parameters).fit(X, Y), SCORED
    yield "weighted", gaussian(shrinkage="auto").fit(X, Y, WEIGHTS), SCORED
    features = gaussian(predict_from="features", covariance_scale=2.0).fit(X[:, 1:], Y)
    yield "labels from features", features, SCORED[:, 1:]
    yield "one feature", gaussian().fit(X[:, :1], Y), SCORED[:, :1]
    single = X.astype(np.float32), SCORED.astype(np.float32)
    yield "float32", gaussian().fit(single[0], Y), single[1]
    broad = gaussian(background=0.01, temperature=1.0).fit(single[0], Y)
    yield "float32 and a background", broad, single[1]
    partial, merged = gaussian(), parts(shrinkage=0.1, background=0.1)
    for part in (slice(0, 7), slice(7, 50), slice(50, 60)):
        partial.partial_fit(X[part], Y[part], CLASSES)
    yield "in parts", partial, SCORED
    yield "merged", merged[2].merge(merged[0]).merge(merged[1]), SCORED
    absent = gaussian(background=0.1).partial_fit(X[Y != "b"], Y[Y != "b"], CLASSES)
    yield "a class without samples", absent, SCORED
    batches = [(X[:30], Y[:30]), (X[30:], Y[30:], WEIGHTS[30:])]
    yield "in batches", gaussian().fit_batches(batches, CLASSES), SCORED
    later = gaussian().fit(X, Y)
    later.predict(SCORED)
    later.set_params(temperature=1.5, background=0.2, var_smoothing=1e-2, priors="uniform")
    yield "parameters set after fit", later, SCORED


def _other_cases():
    """Yield the cases of the other classifiers."""
    mixture = GaussianMixture(2, random_state=0, means_init=X[:2], tol=1e-1)
    kernel = KernelDensity(bandwidth=0.7)
    compact = KernelDensity(kernel="epanechnikov", bandwidth=3.0)
    near, single = SCORED[:4], SCORED.astype(np.float32)
    yield "mixture", DensityClassifier(mixture).fit(X, Y), SCORED
    yield "kernel", DensityClassifier(kernel, temperature=2.0).fit(X, Y, WEIGHTS), near
    priors = [0.2, 0.3, 0.5]
    yield "compact", DensityClassifier(compact, priors=priors, temperature=1.0).fit(X, Y), SCORED
    from_features = DensityClassifier(kernel, predict_from="features").fit(X[:, 1:], Y)
    yield "labels from features", from_features, near[:, 1:]
    yield "kernel float32", DensityClassifier(kernel).fit(X, Y), single[:4]
    yield "softmax", SoftmaxClassifier().fit(X[:, 1:], Y), SCORED[:, 1:]
    yield "softmax float32", SoftmaxClassifier().fit(X[:, 1:], Y), single[:, 1:]


def predictions():
    """Return what every classifier says, by classifier and case."""
    cases = {kind: _gaussian_cases(kind) for kind in TYPES} | {"other": _other_cases()}
    return {
        kind: {name: described(classifier, scored) for name, classifier, scored in each}
        for kind, each in cases.items()
    }


def pictures():
    """Return 6 pictures of noise, uint8 (6, 10, 10)."""
    return np.random.default_rng(1).integers(0, 256, (6, 10, 10), dtype=np.uint8)


def save_pictures(folder):
    """Write the pictures to files, whose bytes depend on no encoder, and return their paths."""
    paths = [Path(folder) / f"{number}.pgm" for number in range(6)]
    for path, picture in zip(paths, pictures(), strict=True):
        path.write_bytes(b"P5 10 10 255\n" + picture.tobytes())
    return paths


def extractor(**parameters):
    """Return an extractor of the smallest network with convolutions."""
    return FeatureExtractor(Convolutional(), device="cpu", **parameters)


def features(folder):
    """Return features (6, n_features) by case; pictures are written to a folder."""
    grey = pictures()[:, None] / np.float32(255)
    tokens = nn.Sequential(nn.Unflatten(1, (10, 10)), nn.Linear(10, 4))
    with torch.no_grad():
        tokens[1].weight.copy_(torch.arange(40).reshape(4, 10) / 16 - 1)
        tokens[1].bias.zero_()
    layers = ["body.0", "body.4", "hidden", None]
    found = {
        f"layers, {pooling}": extractor(layer=layers, pooling=pooling).fit_transform(grey)
        for pooling in ("avg", "max", "flatten")
    }
    for pooling in ("avg", "max", "flatten"):
        rows = FeatureExtractor(tokens, layer="1", pooling=pooling, device="cpu")
        found[f"tokens, {pooling}"] = rows.fit_transform(grey.reshape(6, 100))
    found["paths"] = extractor(input_shape=(1, 10, 10)).fit_transform(save_pictures(folder))
    found["uint8"] = extractor(input_shape=(1, 10, 10)).fit_transform(pictures())
    found["rows"] = extractor(input_shape=(1, 10, 10)).fit_transform(grey.reshape(6, 100))
    found["preprocessed"] = extractor(preprocessing=_inverted).fit_transform(torch.tensor(grey))
    found["batches of 4"] = np.vstack(list(extractor(batch_size=4).fit(grey).iter_transform(grey)))
    return {name: [str(value.dtype), value.tolist()] for name, value in found.items()}


def _inverted(picture):
    return 1 - picture


def dumped():
    """Return the fitted estimators whose files are kept, by name, with samples to score."""
    grey = pictures()[:, None] / np.float32(255)
    labels = np.array([0, 1, 2, 3, 4, 0])
    density = GaussianDensityClassifier("tied_diag", var_smoothing=0.1, background=0.01)
    fitted = {kind: (GaussianDensityClassifier(kind, background=0.1), X, Y) for kind in TYPES}
    fitted["auto"] = GaussianDensityClassifier("full", shrinkage="auto"), X, Y
    fitted["mixture"] = DensityClassifier(GaussianMixture(1, random_state=0)), X, Y
    fitted["softmax"] = SoftmaxClassifier(), X[:, 1:], Y
    fitted["pipeline"] = make_pipeline(extractor(), density), grey, labels
    for name, (estimator, given, labels) in fitted.items():
        scored = given if name == "pipeline" else SCORED[:, -given.shape[1] :]
        yield name, estimator.fit(given, labels), scored


def stored_inputs(folder):
    """Return the inputs whose features a store keeps, by name, with their extractors."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(100, 2))
    with torch.no_grad():
        network[1].weight.copy_(torch.arange(200).reshape(2, 100) / 64 - 1)
        network[1].bias.zero_()
    grey = pictures()[:, None] / np.float32(255)
    shape = {"input_shape": (1, 10, 10), "device": "cpu"}
    both = FeatureExtractor(network, layer=["0", None], **shape)
    seen = FeatureExtractor(network, preprocessing=nn.Identity(), **shape)
    return {
        "arrays": (FeatureExtractor(network, **shape), grey),
        "paths": (FeatureExtractor(network, **shape), save_pictures(folder)),
        "images": (FeatureExtractor(network, **shape), [Image.fromarray(p) for p in pictures()]),
        "two layers": (both, grey.reshape(6, 100)),
        "preprocessed": (seen, torch.tensor(grey)),
    }


def digits(folder):
    """Return the results of a quick run on the digits, without versions and seconds."""
    from sklearn_densconf.paper.__main__ import main

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        code = main(["all", "--dataset", "digits", "--quick", "--out", str(folder)])
    assert code == 0
    results = json.loads((Path(folder) / "results.json").read_text(encoding="utf-8"))
    results["versions"] = sorted(results["versions"])
    for run in results["runs"]:
        run["seconds"] = sorted(run["seconds"])
    return results


def rejector():
    """Return a rejector around a pipeline that ends in an open-set classifier."""
    both = np.hstack([X, X[:, :3]])
    half, rest = slice(0, None, 2), slice(1, None, 2)
    openset = OpenSetClassifier().fit(both[half], Y[half], X_val=both[rest], y_val=Y[rest])
    return ConformalRejector(openset, alpha=0.2).fit(both, Y)


def rejected(loaded):
    """Return what the rejector says of samples."""
    both = np.hstack([SCORED, SCORED[:, :3]])
    decision = loaded.decide(both)
    said = {
        "label": decision.label,
        "accepted": decision.accepted,
        "known": loaded.estimator_.known_proba(both),
        "proba": loaded.predict_proba(both),
    }
    return {name: [str(value.dtype), value.tolist()] for name, value in said.items()}


def write_files(folder):
    """Write a file of `io` and a folder of `distributed.predict`."""
    densconf.save(rejector(), folder / "rejector.densconf")
    _write_json(folder / "rejected.json.gz", rejected(rejector()))
    density = GaussianDensityClassifier().fit(X, Y)
    distributed.predict(density, SCORED, folder / "predicted", shard_size=2)


def write(folder):
    """Write all golden files to a folder."""
    folder = Path(folder)
    scratch = folder / "scratch"
    scratch.mkdir(parents=True)
    _write_json(folder / "predictions.json.gz", predictions())
    _write_json(folder / "features.json.gz", features(scratch))
    said = {}
    for name, estimator, scored in dumped():
        joblib.dump(estimator, folder / f"{name}.joblib", compress=True)
        densconf.save(estimator, folder / f"{name}.densconf")
        said[name] = described(estimator, scored)
    _write_json(folder / "dumped.json.gz", said)
    write_files(folder)
    for estimator, given in stored_inputs(scratch).values():
        estimator.set_params(memory=folder / "memory").fit_transform(given)
    _write_json(folder / "digits.json.gz", digits(scratch / "digits"))


def _write_json(path, content):
    text = json.dumps(content, indent=1)
    path.write_bytes(gzip.compress(text.encode(), mtime=0))


def read_json(name):
    """Read one of the golden JSON files."""
    return json.loads(gzip.decompress((DATA / name).read_bytes()))


if __name__ == "__main__":
    import shutil
    import tempfile

    with tempfile.TemporaryDirectory() as made:
        write(made)
        shutil.rmtree(Path(made) / "scratch")
        shutil.rmtree(DATA, ignore_errors=True)
        shutil.copytree(made, DATA)
