"""A file that is written anew holds another network: fits see it, and what was fitted does not."""

import joblib
import numpy as np
import pytest
import torch

from sklearn_densconf import FeatureExtractor, io

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

X = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
WEIGHTS = np.arange(12, dtype=np.float32).reshape(4, 3)


def write(path, factor, *, external=False):
    """Write a linear network; return its features of X."""
    weights = onnx.numpy_helper.from_array(WEIGHTS * np.float32(factor), "W")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["X", "W"], ["Z"], name="product")],
        "linear",
        [helper.make_tensor_value_info("X", kind, ["n", 4])],
        [helper.make_tensor_value_info("Z", kind, ["n", 3])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    where = {"save_as_external_data": True, "location": "W.bin", "size_threshold": 0}
    path.with_name("W.bin").unlink(missing_ok=True)
    onnx.save(model, path, **(where if external else {}))
    return X @ WEIGHTS * np.float32(factor)


@pytest.mark.parametrize("external", [False, True], ids=["whole", "weights beside it"])
@pytest.mark.parametrize("with_memory", [False, True], ids=["", "memory"])
def test_fit_takes_the_network_that_is_in_the_file_now(tmp_path, external, with_memory):
    path, memory = tmp_path / "net.onnx", tmp_path / "features" if with_memory else None
    before = write(path, 1, external=external)
    fitted = FeatureExtractor(f"onnx:{path}", memory=memory).fit(X)
    np.testing.assert_allclose(fitted.transform(X), before, rtol=1e-5)
    after = write(path, 2, external=external)
    again = FeatureExtractor(f"onnx:{path}", memory=memory).fit(X)
    np.testing.assert_allclose(again.transform(X), after, rtol=1e-5)
    np.testing.assert_allclose(fitted.transform(X), before, rtol=1e-5)


def test_what_was_fitted_stays_as_it_was_with_other_threads_and_layers(tmp_path):
    path = tmp_path / "net.onnx"
    before = write(path, 1)
    fitted = FeatureExtractor(f"onnx:{path}", layer=["product", "output"]).fit(X)
    write(path, 2)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)  # for which a session is opened
        found = fitted.transform(X)
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_allclose(found, np.hstack([before, before]), rtol=1e-5)


def test_a_fitted_extractor_is_not_saved_with_the_network_that_took_its_file(tmp_path):
    path = tmp_path / "net.onnx"
    write(path, 1)
    fitted = FeatureExtractor(f"onnx:{path}").fit(X)
    assert io.load(io.save(fitted, tmp_path / "a.densconf")).transform(X).shape == (6, 3)
    write(path, 2)
    with pytest.raises(ValueError, match=r"cannot save onnx:.*another than at fit. Fit again"):
        io.save(fitted, tmp_path / "b.densconf")
    joblib.dump(fitted, tmp_path / "c.joblib")
    with pytest.raises(ValueError, match="builds another network now than when"):
        joblib.load(tmp_path / "c.joblib")


def test_one_relative_name_in_two_folders_is_two_files(tmp_path, monkeypatch):
    for factor, folder in enumerate(["a", "b"], start=1):
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        wanted = write(tmp_path / folder / "net.onnx", factor)
        found = FeatureExtractor("onnx:net.onnx").fit(X).transform(X)
        np.testing.assert_allclose(found, wanted, rtol=1e-5)


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_weights_that_are_written_anew_are_those_of_the_next_fit(library, tmp_path):
    module = pytest.importorskip(library)
    build = {
        "timm": lambda: module.create_model("test_vit", pretrained=False),
        "torchvision": lambda: module.models.mobilenet_v3_small(weights=None),
    }[library]
    name = {"timm": "test_vit", "torchvision": "mobilenet_v3_small"}[library]
    picture = np.random.default_rng(0).random((1, 3, 160, 160)).astype(np.float32)
    file = tmp_path / "weights.pt"
    for seed in range(2):
        torch.manual_seed(seed)
        network = build().eval()
        torch.save(network.state_dict(), file)
        found = FeatureExtractor(f"{library}:{name}?weights={file}").fit_transform(picture)
        with torch.no_grad():
            wanted = network(torch.tensor(picture)).numpy()
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
