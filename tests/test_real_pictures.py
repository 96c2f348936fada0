"""The pipeline on real pictures: MNIST with LeNet-5, ImageNet with a pretrained MobileNetV2."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score
from sklearn.pipeline import make_pipeline

from sklearn_densconf import FeatureExtractor, GaussianDensityClassifier
from sklearn_densconf.datasets import load_imagenet, load_mnist
from sklearn_densconf.paper._train import train_lenet5


@pytest.mark.slow
def test_lenet5_and_its_density_reach_their_accuracies_on_mnist(mnist_folder):
    (X, y), (X_test, y_test) = (
        load_mnist(mnist_folder, split=split) for split in ("train", "test")
    )
    network = train_lenet5(X[:, None] / np.float32(255), y)
    extractor = FeatureExtractor(network)
    Z, Z_test = extractor.fit_transform(X), extractor.transform(X_test)
    own = accuracy_score(y_test, Z_test.argmax(1))
    assert own >= 0.988

    pipe = make_pipeline(extractor, GaussianDensityClassifier()).fit(X, y)
    assert pipe.score(X_test, y_test) >= 0.985
    paper = GaussianDensityClassifier(predict_from="features").fit(Z, y)
    assert paper.score(Z_test, y_test) == own


def _some(pictures, n):
    """Take n pictures of each class."""
    chosen = np.concatenate([np.flatnonzero(pictures.y == k)[:n] for k in np.unique(pictures.y)])
    return [pictures.paths[index] for index in chosen], pictures.y[chosen]


@pytest.mark.slow
def test_a_pipeline_fits_on_imagenets_paths_and_predicts(imagenet_folder, imagenet_net):
    paths, y = _some(load_imagenet(imagenet_folder, split="train"), 12)
    paths_test, y_test = _some(load_imagenet(imagenet_folder, split="val"), 6)
    classes = np.unique(y)
    assert len(classes) == 20
    network = imagenet_net.mobilenet_v2(classes.tolist())
    extractor = FeatureExtractor(
        network, preprocessing=imagenet_net.preprocess, batch_size=32, num_workers=2
    )
    pipe = make_pipeline(extractor, GaussianDensityClassifier("tied_diag")).fit(paths, y)
    assert pipe.score(paths_test, y_test) >= 0.85
    with torch.inference_mode():
        pictures = torch.stack([imagenet_net.preprocess(path) for path in paths_test[:20]])
        expected = network(pictures).numpy()
    np.testing.assert_allclose(extractor.transform(paths_test[:20]), expected, rtol=1e-3, atol=1e-3)
