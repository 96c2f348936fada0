"""Real tables: scikit-learn's breast cancer data, as a DataFrame whose columns differ in type."""

from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from skorch import NeuralNetClassifier
from torch import nn

from sklearn_densconf import FeatureExtractor, GaussianDensityClassifier

from ._checks import TOLERANCE


class MLP(nn.Module):
    """Two hidden layers, with Dropout."""

    def __init__(self, n_in: int = 35) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(n_in, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 16), nn.ReLU()
        )
        self.head = nn.Linear(16, 2)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(X))


def table() -> tuple[pd.DataFrame, pd.Series]:
    """Return the data with columns of float64, float32, int64, bool and category."""
    X, y = load_breast_cancer(as_frame=True, return_X_y=True)
    X = X.astype({"mean radius": "float32", "worst radius": "float32"})
    X["mean area"] = X["mean area"].round().astype("int64")
    X["worst area"] = X["worst area"].round().astype("int64")
    X["is concave"] = X["mean concavity"] > X["mean concavity"].median()
    X["texture"] = pd.qcut(X["mean texture"], 3, labels=["fine", "medium", "coarse"])
    return X, y.map({0: "malignant", 1: "benign"})


def section() -> list[str]:
    """Return the lines of the page's section on tables."""
    X, y = table()
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)
    torch.manual_seed(0)
    pipe = _pipeline().fit(X_train, y_train)
    types = ", ".join(sorted({str(dtype) for dtype in X.dtypes}))
    return [
        "## Real tables",
        "",
        f"scikit-learn's breast cancer data: a DataFrame of {len(X)} rows and {X.shape[1]} columns "
        f"of types {types}, through a `ColumnTransformer` and a small MLP that `fit` trains "
        "(skorch) into `GaussianDensityClassifier()`; a quarter of the rows is held out.",
        "",
        f"- Features equal those of a plain pass of the trained MLP: {_equal(pipe, X_test)}.",
        "- A DataFrame of numbers of several types, without a `ColumnTransformer`, gives the "
        f"features of the same numbers as one array: {_straight(X_test)}.",
        f"- Accuracy: {pipe.score(X_test, y_test):.3f}; of the MLP alone "
        f"{_alone(pipe, X_test, y_test):.3f}.",
        "",
        *_confidences(pipe, X_test, y_test),
    ]


def _pipeline() -> Pipeline:
    columns = make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include="number")),
        (
            OneHotEncoder(sparse_output=False),
            make_column_selector(dtype_include=["bool", "category"]),
        ),
    )
    net = NeuralNetClassifier(
        MLP,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=0.01,
        max_epochs=30,
        batch_size=32,
        train_split=None,
        verbose=0,
    )
    return make_pipeline(columns, FeatureExtractor(net), GaussianDensityClassifier())


def _outputs(pipe: Pipeline, X: pd.DataFrame) -> np.ndarray:
    """Return the trained network's outputs by a plain pass."""
    rows = torch.from_numpy(pipe[0].transform(X).astype(np.float32))
    with torch.no_grad():
        return pipe[1].backbone_.network().eval()(rows).numpy()


def _equal(pipe: Pipeline, X: pd.DataFrame) -> str:
    right = _outputs(pipe, X)
    return _said(np.abs(pipe[:-1].transform(X) - right).max() / np.abs(right).max())


def _straight(X: pd.DataFrame) -> str:
    numbers = X.drop(columns="texture")
    torch.manual_seed(0)
    network = MLP(numbers.shape[1]).eval()
    features = FeatureExtractor(network).fit(numbers).transform(numbers)
    with torch.no_grad():
        right = network(torch.from_numpy(numbers.to_numpy(np.float32))).numpy()
    return _said(np.abs(features - right).max() / np.abs(right).max())


def _said(error: float) -> str:
    return "yes, to 1e-5" if error <= TOLERANCE else f"**no**, wrong by {error:.1g}"


def _alone(pipe: Pipeline, X: pd.DataFrame, y: pd.Series) -> float:
    return float((pipe.classes_[_outputs(pipe, X).argmax(1)] == y).mean())


def _confidences(pipe: Pipeline, X: pd.DataFrame, y: pd.Series) -> list[str]:
    is_right = pipe.predict(X) == y
    rows = {
        "held out, label right": X[is_right],
        "held out, label wrong": X[~is_right],
        "each column shuffled": _shuffled(X),
    }
    return [
        "| rows | number | mean confidence | median `score_samples` (nats) |",
        "| --- | --- | --- | --- |",
        *(f"| {name} | {len(part)} | {_mean(pipe, part)} |" for name, part in rows.items()),
    ]


def _shuffled(X: pd.DataFrame) -> pd.DataFrame:
    random = np.random.default_rng(0)
    return pd.DataFrame({name: X[name].array[random.permutation(len(X))] for name in X})


def _mean(pipe: Any, X: pd.DataFrame) -> str:
    confidence = pipe.predict_proba(X).max(1).mean()
    return f"{confidence:.2f} | {np.median(pipe.score_samples(X)):.0f}"
