"""Displays: what is drawn is what was measured, and nothing covers it."""

import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_densconf.displays import (
    ConfidenceCurveDisplay,
    PictureStripDisplay,
    ReliabilityDisplay,
    RiskCoverageDisplay,
)
from sklearn_densconf.metrics import (
    area_under_risk_coverage,
    confidence_curve,
    expected_calibration_error,
    predict_with_confidence,
    reliability_curve,
    risk_coverage_curve,
)

SINGLE = [RiskCoverageDisplay, ReliabilityDisplay]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


@pytest.fixture(scope="module")
def models(iris):
    return {
        "linear": make_pipeline(StandardScaler(), LogisticRegression()).fit(*iris),
        "density": GaussianNB().fit(*iris),
    }


@pytest.fixture(scope="module")
def sweep(iris):
    X, y = iris
    return {severity: (X + severity, y) for severity in (0.0, 1.0, 3.0)}


@pytest.fixture
def predictions():
    rng = np.random.default_rng(0)
    confidence = rng.random(300)
    return rng.random(300) < confidence, confidence


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def legend_covers(ax):
    """Whether a line has a point under the legend, on the page as it is drawn."""
    ax.figure.canvas.draw()
    box = ax.get_legend().get_window_extent()
    points = [line.get_transform().transform(line.get_xydata()) for line in ax.lines]
    return any(box.contains(x, y) for x, y in np.concatenate(points))


def test_confidence_curves_are_divided_by_their_clean_confidence(models, sweep):
    display = ConfidenceCurveDisplay.from_estimator(models, sweep, severity_name="Shift (cm)")
    for name, model in models.items():
        curve = confidence_curve(model, sweep)
        line = display.lines_[name]
        np.testing.assert_array_equal(line.get_xdata(), [0, 1, 3])
        np.testing.assert_allclose(line.get_ydata(), curve.confidence / curve.confidence[0])
    assert display.ax_.get_xlabel() == "Shift (cm)"
    assert display.ax_.get_ylabel() == "Mean confidence (clean = 1)"
    assert display.figure_ is display.ax_.figure


def test_confidence_curves_can_be_raw_and_without_accuracy(models, sweep):
    display = ConfidenceCurveDisplay.from_estimator(
        models, sweep, relative=False, plot_accuracy=False
    )
    curve = confidence_curve(models["density"], sweep)
    np.testing.assert_allclose(display.lines_["density"].get_ydata(), curve.confidence)
    assert display.ax_.get_ylabel() == "Mean confidence"
    assert display.accuracy_lines_ == []
    assert labels(display.ax_) == ["linear", "density"]


@pytest.mark.parametrize("clean", [0.0, -9.5, -np.inf, np.inf])
def test_nothing_is_a_fraction_of_a_clean_confidence_that_is_not_above_0(clean):
    given = [0, 1], {"a": [0.9, 0.5], "b": [clean, -20.0]}
    with pytest.raises(ValueError, match=r"'b' of clean pictures is .*: set relative=False"):
        ConfidenceCurveDisplay.from_predictions(*given)
    ConfidenceCurveDisplay.from_predictions(*given, relative=False)


def test_each_accuracy_has_its_line_and_is_never_divided(models, sweep):
    display = ConfidenceCurveDisplay.from_estimator(models, sweep)
    assert labels(display.ax_)[2:] == ["accuracy, linear", "accuracy, density"]
    for model, line, name in zip(
        models.values(), display.accuracy_lines_, display.lines_, strict=True
    ):
        np.testing.assert_allclose(line.get_ydata(), confidence_curve(model, sweep).accuracy)
        assert line.get_color() == display.lines_[name].get_color()


def test_an_accuracy_that_is_shared_is_drawn_once():
    display = ConfidenceCurveDisplay.from_predictions(
        [0, 1], {"a": [0.9, 0.5], "b": [0.8, 0.2]}, [0.9, 0.7]
    )
    assert labels(display.ax_) == ["a", "b", "accuracy"]
    assert len(display.accuracy_lines_) == 1


@pytest.mark.parametrize("as_mapping", [False, True])
def test_predictions_of_each_picture_are_averaged(as_mapping):
    confidence = np.array([[0.9, 0.7], [0.5, 0.1]])
    correct = np.array([[True, True], [True, False]])
    if as_mapping:
        confidence, correct = {"ours": confidence}, {"ours": correct}
    display = ConfidenceCurveDisplay.from_predictions(
        [0, 1], confidence, correct, name="ours", relative=False
    )
    np.testing.assert_allclose(display.lines_["ours"].get_ydata(), [0.8, 0.3])
    np.testing.assert_allclose(display.accuracy_lines_[0].get_ydata(), [1, 0.5])


@pytest.mark.parametrize("shape", [(3,), (3, 4), (2, 2, 2), ()])
def test_confidences_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"confidence 'x' has shape .*wanted \(2,\) or \(2, n_pic"):
        ConfidenceCurveDisplay.from_predictions([0, 1], {"x": np.ones(shape)})


def test_a_generator_serves_several_estimators(models, sweep):
    display = ConfidenceCurveDisplay.from_estimator(models, iter(sweep.items()))
    assert all(len(line.get_xdata()) == 3 for line in display.lines_.values())


def test_distortion_grows_to_the_right_also_for_jpeg_quality():
    quality, confidence = [100, 50, 1], [0.9, 0.8, 0.2]
    display = ConfidenceCurveDisplay.from_predictions(quality, confidence)
    assert display.ax_.xaxis.get_inverted()
    display.plot(display.ax_)
    assert display.ax_.xaxis.get_inverted()
    assert not ConfidenceCurveDisplay.from_predictions([0, 1], [0.9, 0.8]).ax_.xaxis.get_inverted()


def test_panels_can_share_one_legend():
    _, (left, right) = plt.subplots(1, 2)
    for ax in (left, right):
        ConfidenceCurveDisplay.from_predictions([0, 1], [0.9, 0.8], ax=ax, plot_legend=False)
    assert left.get_legend() is right.get_legend() is None
    assert left.get_ylim()[1] > 1


def test_a_single_estimator_is_called_by_its_last_step_or_its_given_name(models, sweep):
    linear = models["linear"]
    assert list(ConfidenceCurveDisplay.from_estimator(linear, sweep).lines_) == [
        "LogisticRegression"
    ]
    named = ConfidenceCurveDisplay.from_estimator(models["density"], sweep, name="ours")
    assert list(named.lines_) == ["ours"]


def test_curves_overlaid_on_one_axes_differ_in_colour_and_marker():
    display = ConfidenceCurveDisplay.from_predictions([0, 1], [0.9, 0.8], name="a")
    second = ConfidenceCurveDisplay.from_predictions([0, 1], [0.9, 0.2], name="b", ax=display.ax_)
    first_line, second_line = display.lines_["a"], second.lines_["b"]
    assert first_line.get_color() != second_line.get_color()
    assert first_line.get_marker() != second_line.get_marker()
    assert labels(display.ax_) == ["a", "b"]


def test_the_look_of_a_line_can_be_chosen():
    display = ConfidenceCurveDisplay.from_predictions([0, 1], [0.9, 0.8], color="red", marker="x")
    assert display.lines_["confidence"].get_color() == "red"
    assert display.lines_["confidence"].get_marker() == "x"


@pytest.mark.parametrize("layout", [None, "constrained", "tight"])
@pytest.mark.parametrize("width", [3, 6])
def test_the_legend_covers_no_curve_even_where_a_confidence_rises(width, layout):
    _, (left, right) = plt.subplots(1, 2, figsize=(2 * width, 3), layout=layout)
    for ax in (left, right):
        ConfidenceCurveDisplay.from_predictions(
            [0, 1, 2],
            {"softmax": [0.4, 0.9, 0.8], "density": [0.9, 0.8, 0.1], "plain": [0.5, 0.6, 0.7]},
            [0.9, 0.5, 0.2],
            ax=ax,
        )
    assert not legend_covers(left)
    assert not legend_covers(right)
    assert left.get_ylim()[1] > 2.25  # the highest relative confidence is in sight
    assert max(left.get_yticks()) <= 2.25


def test_risk_coverage_draws_the_curve_and_names_its_area(predictions):
    display = RiskCoverageDisplay.from_predictions(*predictions, name="ours")
    curve = risk_coverage_curve(*predictions)
    np.testing.assert_array_equal(display.line_.get_xdata(), curve.coverage)
    np.testing.assert_array_equal(display.line_.get_ydata(), curve.risk)
    assert labels(display.ax_) == [f"ours (AURC = {area_under_risk_coverage(*predictions):.3g})"]
    assert not legend_covers(display.ax_)


def test_risk_without_errors_can_be_drawn():
    display = RiskCoverageDisplay.from_predictions([True, True], [0.9, 0.8])
    assert display.ax_.get_ylim()[1] >= 1
    assert labels(display.ax_) == ["AURC = 0"]


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_reliability_draws_the_bins_and_names_their_error(predictions, strategy):
    bins = {"n_bins": 8, "strategy": strategy}
    display = ReliabilityDisplay.from_predictions(*predictions, name="ours", **bins)
    curve = reliability_curve(*predictions, **bins)
    np.testing.assert_array_equal(display.line_.get_xdata(), curve.confidence)
    np.testing.assert_array_equal(display.line_.get_ydata(), curve.accuracy)
    areas = display.discs_.get_sizes()
    np.testing.assert_allclose(areas / areas.sum(), curve.n_samples / 300)
    error = expected_calibration_error(*predictions, **bins)
    assert labels(display.ax_) == ["right as often as confident", f"ours (ECE = {error:.3g})"]
    assert not legend_covers(display.ax_)


def test_the_diagonal_is_drawn_once(predictions):
    display = ReliabilityDisplay.from_predictions(*predictions)
    ReliabilityDisplay.from_predictions(*predictions, ax=display.ax_)
    assert len(display.ax_.lines) == 3


@pytest.mark.parametrize("display_class", SINGLE)
def test_an_estimator_gives_what_its_predictions_give(display_class, models, iris):
    X, y = iris
    predicted, confidence = predict_with_confidence(models["linear"], X)
    ours = display_class.from_estimator(models["linear"], X, y)
    theirs = display_class.from_predictions(predicted == y, confidence)
    np.testing.assert_array_equal(ours.line_.get_xydata(), theirs.line_.get_xydata())
    assert ours.line_.get_label().startswith("LogisticRegression (")


@pytest.mark.parametrize("display_class", SINGLE)
def test_a_single_curve_is_drawn_on_given_axes_under_a_given_name(display_class, predictions):
    ax = plt.figure().subplots()
    display = display_class.from_predictions(*predictions, name="first", ax=ax)
    assert display.ax_ is ax
    assert display.plot(name="second").ax_ is not ax
    assert display.line_.get_label().startswith("second (")


def test_without_an_area_the_name_alone_is_in_the_legend():
    display = RiskCoverageDisplay(coverage=[0.5, 1], risk=[0, 0.5], name="ours").plot()
    assert labels(display.ax_) == ["ours"]


def test_without_name_and_area_there_is_no_legend():
    assert RiskCoverageDisplay(coverage=[0.5, 1], risk=[0, 0.5]).plot().ax_.get_legend() is None


def test_a_legend_wider_than_its_axes_is_one_column():
    ax = plt.figure(figsize=(1, 3)).subplots()
    confidences = {"a long name": [0.9, 0.8], "another long name": [0.9, 0.1]}
    ConfidenceCurveDisplay.from_predictions([0, 1], confidences, ax=ax)
    left_edges = {text.get_window_extent().x0 for text in ax.get_legend().get_texts()}
    assert len(left_edges) == 1
    assert not legend_covers(ax)


def test_a_display_leaves_the_style_of_the_session_alone(predictions):
    before = dict(mpl.rcParams)
    RiskCoverageDisplay.from_predictions(*predictions)
    assert dict(mpl.rcParams) == before


def test_a_strip_shows_every_picture_with_every_confidence():
    pictures = np.random.default_rng(0).integers(0, 256, (3, 6, 8, 3), dtype=np.uint8)
    confidences = {"softmax": [1, 0.5, 0.25], "density": [0.004, 0.002, 0.0031]}
    display = PictureStripDisplay.from_predictions(pictures, confidences, captions=["a", "b", "c"])
    for image, picture in zip(display.images_, pictures, strict=True):
        np.testing.assert_array_equal(image.get_array(), picture)
    texts = [text.get_text() for text in display.ax_.texts]
    assert texts == ["1.00", "0.50", "0.25", "0.004", "0.002", "0.0031"]
    widths = [[bar.get_width() for bar in bars] for bars in display.bars_.values()]
    np.testing.assert_allclose(widths, [[1, 0.5, 0.25], [1, 0.5, 0.775]])
    assert [label.get_text() for label in display.ax_.get_xticklabels()] == ["a", "b", "c"]
    assert [label.get_text() for label in display.ax_.get_yticklabels()] == ["softmax", "density"]


def test_grey_pictures_share_one_scale_that_is_that_of_their_pixels():
    for pictures, high in [(np.full((2, 4, 4), 9, np.uint8), 255), (np.full((2, 4, 4), 0.3), 1)]:
        display = PictureStripDisplay.from_predictions(pictures, {"x": [1, 1]})
        assert all(image.get_clim() == (0, high) for image in display.images_)


@pytest.mark.parametrize("n_pictures", [1, 5, 9])
@pytest.mark.parametrize("shape", [(28, 28), (40, 28, 1), (20, 60)])
def test_pictures_keep_their_shape_and_rows_do_not_meet(n_pictures, shape):
    pictures = np.zeros((n_pictures, *shape))
    confidences = {name: np.linspace(1, 0, n_pictures) for name in "abc"}
    display = PictureStripDisplay.from_predictions(pictures, confidences)
    display.figure_.canvas.draw()
    box = display.images_[0].get_window_extent()
    assert box.height / box.width == pytest.approx(shape[0] / shape[1], rel=1e-3)
    in_a_column = display.ax_.texts[::n_pictures]
    tops = [text.get_window_extent().y1 for text in in_a_column]
    bottoms = [text.get_window_extent().y0 for text in in_a_column]
    assert tops[0] <= box.y0 + 1
    assert all(top < bottom for top, bottom in zip(tops[1:], bottoms, strict=False))


def test_a_strip_of_estimators_shows_their_confidence_in_given_pictures(models, iris):
    X = iris[0][:3]
    pictures = X.reshape(3, 2, 2) / 10
    display = PictureStripDisplay.from_estimator(models, X, pictures=pictures)
    assert list(display.bars_) == ["linear", "density"]
    np.testing.assert_array_equal(
        display.confidences["linear"], predict_with_confidence(models["linear"], X)[1]
    )
    single = PictureStripDisplay.from_estimator(models["density"], X, pictures=pictures)
    assert list(single.bars_) == ["GaussianNB"]


def test_a_strip_takes_what_its_estimator_takes_where_that_are_pictures():
    X = [np.full((2, 2), i / 10) for i in range(4)]

    class Mean(GaussianNB):
        def predict(self, X):
            return super().predict(np.mean(X, axis=(1, 2))[:, None])

        def predict_proba(self, X):
            return super().predict_proba(np.mean(X, axis=(1, 2))[:, None])

    model = Mean(var_smoothing=1).fit([[0.0], [1.0]], [0, 1])
    display = PictureStripDisplay.from_estimator(model, X, name="mean")
    assert len(display.images_) == 4


def test_displays_can_be_drawn_on_a_part_of_a_figure():
    left, right = plt.figure(layout="constrained").subfigures(1, 2)
    PictureStripDisplay.from_predictions(np.zeros((2, 4, 4)), {"x": [1, 1]}, ax=left.subplots())
    ax = right.subplots()
    ReliabilityDisplay.from_predictions([1, 0, 1], [0.9, 0.3, 0.6], name="a", ax=ax)
    assert ax.get_legend() is not None


def test_a_confidence_of_zero_has_no_bar():
    display = PictureStripDisplay.from_predictions(np.zeros((2, 4, 4)), {"x": [0, 0]})
    assert [bar.get_width() for bar in display.bars_["x"]] == [0, 0]


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        (np.zeros((2, 16)), r"a picture must have shape .* got \(16,\): reshape it"),
        (np.zeros((2, 3, 8, 8)), r"got \(3, 8, 8\): .*move the channels to the end"),
        ([np.zeros((4, 4)), np.zeros((4, 5))], r"all of one size, got \[\(4, 4\), \(4, 5\)\]: res"),
        ([], r"at least one picture, .* got \[\]"),
    ],
)
def test_what_is_no_strip_of_pictures_is_refused(pictures, message):
    with pytest.raises(ValueError, match=message):
        PictureStripDisplay.from_predictions(pictures, {"x": [1, 1]})


@pytest.mark.parametrize(
    ("confidences", "captions", "message"),
    [
        ({"x": [1, 1, 1]}, None, r"each of 2 pictures, got shapes \{'x': \(3,\)\}"),
        ({"x": [1, 1]}, ["a"], r"got shapes \{'captions': \(1,\)\}"),
        ({}, None, "got shapes of nothing"),
    ],
)
def test_a_strip_needs_a_confidence_and_a_caption_for_each_picture(confidences, captions, message):
    with pytest.raises(ValueError, match=message):
        PictureStripDisplay.from_predictions(np.zeros((2, 4, 4)), confidences, captions=captions)


def test_importing_the_displays_imports_no_matplotlib_and_drawing_says_how_to_install_it():
    code = (
        "import sys, sklearn_densconf.displays as displays\n"
        "assert 'matplotlib' not in sys.modules\n"
        "sys.modules['matplotlib'] = None\n"
        "displays.RiskCoverageDisplay.from_predictions([True], [0.5])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ImportError: RiskCoverageDisplay needs matplotlib" in done.stderr
    assert "pip install 'sklearn_densconf[plots]'" in done.stderr
