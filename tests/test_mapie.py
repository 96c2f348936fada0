"""The user guide's recipe of MAPIE's prediction sets, beside this package's rejector."""

import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sklearn_densconf import ConformalRejector, GaussianDensityClassifier

pytest.importorskip("mapie")

GUIDE = Path(__file__).parents[1] / "docs" / "user_guide.md"


@pytest.fixture(scope="module")
def found():
    """Run the recipe on digits; return its names."""
    X, y = load_digits(return_X_y=True)
    X, X_other, y, y_other = train_test_split(X / 16, y, test_size=0.6, random_state=0)
    X_calibration, X_new, y_calibration, y_new = train_test_split(
        X_other, y_other, test_size=0.5, random_state=0
    )
    pipe = GaussianDensityClassifier("tied").fit(X, y)
    names = {
        "pipe": pipe,
        "X_calibration": X_calibration,
        "y_calibration": y_calibration,
        "X": X_new,
    }
    (recipe,) = re.findall(r"```python\n(from mapie.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    exec(recipe, names)
    return names | {"y": y_new}


def test_the_recipe_gives_sets_that_hold_the_true_label(found):
    contained, y = found["contained"][:, :, 0], found["y"]
    assert contained.shape == (540, 10)
    true = contained[np.arange(len(y)), y]
    assert abs(true.mean() - 0.95) < 3 * np.sqrt(0.95 * 0.05 * 2 / len(y))
    assert contained.sum(axis=1).mean() < 3


def test_what_the_rejector_rejects_has_an_empty_set(found):
    """One in five, so that some sets are empty."""
    from mapie.classification import SplitConformalClassifier

    X, X_calibration, y_calibration = (found[k] for k in ("X", "X_calibration", "y_calibration"))
    pipe, options = found["pipe"], {"conformity_score": "lac", "prefit": True}
    sets = SplitConformalClassifier(pipe, confidence_level=0.8, **options)
    _, contained = sets.conformalize(X_calibration, y_calibration).predict_set(X)
    rejector = ConformalRejector(pipe, alpha=0.2, per_class=False).fit(X_calibration, y_calibration)
    rejected = ~rejector.decide(X).accepted
    assert 10 < rejected.sum() < 200
    np.testing.assert_array_equal(rejected, ~contained[:, :, 0].any(axis=1))
