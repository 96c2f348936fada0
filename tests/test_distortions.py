"""Distortions against scipy, Pillow and the definitions, over all kinds of pictures."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.stats import kstest, norm
from sklearn.base import clone
from sklearn.datasets import load_digits, load_sample_images
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_densconf import distortions
from sklearn_densconf.distortions import (
    DISTORTIONS,
    Distortion,
    gaussian_blur,
    gaussian_noise,
    jpeg,
    scale_pixels,
    thumbnail,
)

CLIPPED = {"gaussian_noise": 0.4, "gaussian_blur": 2.0, "jpeg": 20, "thumbnail": 9}


@pytest.fixture(scope="module")
def photos():
    """Two real photographs of 96 x 128 pixels, uint8, channels last."""
    return np.stack([photo[100:196, 200:328] for photo in load_sample_images().images])


def in_unit(photos, dtype=np.float32):
    return (photos / 255).astype(dtype)


def distort(kind, images, severity=None, **options):
    severity = CLIPPED[kind] if severity is None else severity
    if kind == "gaussian_noise":
        severity = severity * 255 if images.dtype == np.uint8 else severity
        options = {"random_state": 0, **options}
    return DISTORTIONS[kind](images, severity, **options)


def test_public_names_are_those_of_all():
    assert {*DISTORTIONS, "Distortion", "DISTORTIONS"} == set(distortions.__all__)


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("kind", CLIPPED)
def test_result_keeps_dtype_shape_and_range_and_input_is_unchanged(photos, kind, dtype):
    images = photos if dtype == np.uint8 else in_unit(photos, dtype)
    before = images.copy()
    result = distort(kind, images, channel_axis=-1)
    assert result.dtype == dtype
    assert result.shape == images.shape
    assert result.min() >= 0
    assert result.max() <= (255 if dtype == np.uint8 else 1)
    assert not np.array_equal(result, images)
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("kind", CLIPPED)
def test_order_of_axes_does_not_matter(photos, kind):
    last = distort(kind, photos, channel_axis=-1)
    np.testing.assert_array_equal(distort(kind, photos, channel_axis=3), last)
    channels_first = np.moveaxis(photos, -1, 1)
    for images in (channels_first, np.ascontiguousarray(channels_first)):
        first = distort(kind, images, channel_axis=1)
        np.testing.assert_array_equal(np.moveaxis(first, 1, -1), last)
    np.testing.assert_array_equal(distort(kind, channels_first, channel_axis=-3), first)


@pytest.mark.parametrize("kind", CLIPPED)
def test_a_picture_is_distorted_as_in_a_batch(photos, kind):
    whole = distort(kind, photos, channel_axis=-1)
    np.testing.assert_array_equal(distort(kind, photos[1], channel_axis=-1), whole[1])
    np.testing.assert_array_equal(distort(kind, photos[::-1], channel_axis=-1), whole[::-1])
    grey = photos[..., 0]
    np.testing.assert_array_equal(distort(kind, grey[0]), distort(kind, grey)[0])
    np.testing.assert_array_equal(distort(kind, grey[0], channel_axis=None), distort(kind, grey)[0])
    np.testing.assert_array_equal(
        distort(kind, grey[..., None], channel_axis=-1)[..., 0], distort(kind, grey)
    )


@pytest.mark.parametrize("kind", sorted({*CLIPPED} - {"gaussian_noise"}))  # keyed by the pixels
def test_uint8_and_floating_pictures_agree_to_a_level(photos, kind):
    levels = distort(kind, photos, channel_axis=-1)
    unit = distort(kind, in_unit(photos, np.float64), channel_axis=-1)
    assert np.abs(levels - unit * 255).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("kind", CLIPPED)
def test_an_empty_batch_stays_empty(kind):
    assert distort(kind, np.empty((0, 28, 28))).shape == (0, 28, 28)


@pytest.mark.parametrize(
    ("kind", "nothing"), [("gaussian_noise", 0), ("gaussian_blur", 0), ("thumbnail", 128)]
)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_severity_zero_gives_an_equal_picture(photos, kind, nothing, dtype):
    images = photos if dtype == np.uint8 else in_unit(photos)
    np.testing.assert_array_equal(distort(kind, images, nothing, channel_axis=-1), images)


# Gaussian noise


def test_noise_is_gaussian_with_the_given_sigma_and_independent():
    images = np.linspace(0.49, 0.51, 40 * 50 * 50).reshape(40, 50, 50)
    noise = gaussian_noise(images, 0.05, random_state=0) - images
    assert kstest(noise.ravel()[::7] / 0.05, norm.cdf).pvalue > 0.01
    flat = noise.reshape(40, -1)
    off_diagonal = np.corrcoef(flat)[~np.eye(40, dtype=bool)]
    assert np.abs(off_diagonal).max() < 5 / np.sqrt(2500)  # five standard errors


def test_noise_on_levels_has_sigma_in_levels(photos):
    grey = np.full((200, 200), 128, np.uint8)
    noise = gaussian_noise(grey, 10, random_state=1) - 128.0
    assert abs(noise.std() - np.sqrt(100 + 1 / 12)) < 0.2  # rounding adds 1/12; 5 standard errors


def test_noise_of_a_picture_depends_on_seed_and_picture_alone(photos):
    images = in_unit(photos)
    first, again, other = (
        gaussian_noise(images, 0.1, random_state=seed, channel_axis=-1) for seed in (7, 7, 8)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    batch = np.concatenate([images[1:], 1 - images, images[:1]])
    shuffled = gaussian_noise(batch, 0.1, random_state=7, channel_axis=-1)
    np.testing.assert_array_equal(shuffled[[-1, 0]], first)


def test_noise_grows_in_proportion_to_sigma():
    image = np.full((30, 30), 0.5)
    weak, strong = (gaussian_noise(image, sigma, random_state=0) - image for sigma in (0.01, 0.05))
    np.testing.assert_allclose(5 * weak, strong, atol=1e-15)


def test_noise_without_a_seed_is_new_each_time():
    image = np.full((30, 30), 0.5)
    assert not np.array_equal(gaussian_noise(image, 0.1), gaussian_noise(image, 0.1))


def test_noise_takes_a_random_state_and_advances_it():
    image = np.full((30, 30), 0.5)
    state = np.random.RandomState(0)
    first, second = (gaussian_noise(image, 0.1, random_state=state) for _ in range(2))
    assert not np.array_equal(first, second)
    again = gaussian_noise(image, 0.1, random_state=np.random.RandomState(0))
    np.testing.assert_array_equal(first, again)


def test_noise_saturates_in_a_range_of_its_own():
    images = np.zeros((2, 8, 8))
    noisy = gaussian_noise(images, 2, random_state=0, pixel_range=(-1, 1))
    assert noisy.min() == -1
    assert noisy.max() == 1


# Gaussian blur


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.0, 36.0])
def test_blur_is_that_of_scipy(photos, sigma):
    images = in_unit(photos, np.float64)
    expected = gaussian_filter(images, (0, sigma, sigma, 0), mode="reflect", truncate=4)
    np.testing.assert_allclose(gaussian_blur(images, sigma, channel_axis=-1), expected, atol=1e-13)
    single = gaussian_blur(images.astype(np.float32), sigma, channel_axis=-1)
    np.testing.assert_allclose(single, expected, atol=1e-6)


@pytest.mark.parametrize("sigma", [0.5, 5.0, 90.0])
def test_blur_keeps_the_mean_and_lowers_the_variance(photos, sigma):
    images = in_unit(photos, np.float64)
    blurred = gaussian_blur(images, sigma, channel_axis=-1)
    axes = (1, 2)
    np.testing.assert_allclose(blurred.mean(axes), images.mean(axes), rtol=1e-12)
    assert (blurred.var(axes) < images.var(axes)).all()


def test_blur_of_a_constant_picture_is_that_picture():
    images = np.full((3, 28, 28), 255, np.uint8)
    np.testing.assert_array_equal(gaussian_blur(images, 2), images)


# JPEG


@pytest.mark.parametrize("quality", [1, 50, 100])
def test_jpeg_is_what_the_encoder_makes(photos, quality):
    for images, axis in ((photos, -1), (photos[..., 0], None)):
        coded = io.BytesIO()
        Image.fromarray(images[0]).save(coded, format="JPEG", quality=quality)
        expected = np.asarray(Image.open(coded))
        np.testing.assert_array_equal(jpeg(images, quality, channel_axis=axis)[0], expected)


def test_jpeg_error_grows_as_quality_falls(photos):
    errors = [
        np.abs(jpeg(photos, quality, channel_axis=-1) - photos.astype(float)).mean()
        for quality in (100, 80, 50, 20, 5, 1)
    ]
    assert errors == sorted(errors)


def test_jpeg_takes_pictures_of_a_single_pixel_row():
    assert jpeg(np.full((2, 1, 9), 7, np.uint8), 90).tolist() == [[[7] * 9]] * 2


# Thumbnails


@pytest.mark.parametrize("size", [1, 5, 32, 100, 127])
def test_thumbnail_is_that_of_pillow(photos, size):
    image = in_unit(photos[0, :, :, 1], np.float32)
    small = (size, max(1, round(96 * size / 128)))
    bilinear = Image.Resampling.BILINEAR
    expected = Image.fromarray(image).resize(small, bilinear).resize((128, 96), bilinear)
    np.testing.assert_allclose(thumbnail(image, size), np.asarray(expected), atol=2e-6)


def test_thumbnail_of_one_pixel_is_the_weighted_mean():
    image = np.array([[0.0, 1.0, 1.0, 0.0]])
    weights = np.array(
        [0.625, 0.875, 0.875, 0.625]
    )  # triangle, 4 pixels to each side of the centre
    np.testing.assert_allclose(thumbnail(image, 1), np.full((1, 4), 1.75 / weights.sum()))


# Scaled pixels


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_scaled_pixels_leave_their_range(dtype):
    images = np.array([[0.0, 0.5, 1.0]], dtype)
    scaled = scale_pixels(images, 100)
    assert scaled.dtype == dtype
    np.testing.assert_array_equal(scaled, [[0, 50, 100]])
    np.testing.assert_array_equal(scale_pixels(images, 1), images)


def test_scaled_levels_become_float32():
    scaled = scale_pixels(np.array([[255]], np.uint8), 2)
    assert scaled.dtype == np.float32
    assert scaled == 510


# Errors


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: gaussian_noise(x, -0.1), r"sigma must lie in \[0, 1\] .*got -0.1"),
        (lambda x: gaussian_noise(x, 25), r"sigma must lie in \[0, 1\] .*pixels.*got 25"),
        (lambda x: gaussian_noise(x, np.nan), r"sigma must lie in .*got nan"),
        (lambda x: gaussian_blur(x, 9), r"sigma must lie in \[0, 8\] .*longer side.*got 9"),
        (lambda x: gaussian_blur(x, np.inf), r"sigma must lie in .*got inf"),
        (lambda x: jpeg(x, 0), r"quality must lie in \[1, 100\] .*got 0"),
        (lambda x: jpeg(x, 101), r"quality must lie in \[1, 100\] .*got 101"),
        (lambda x: jpeg(x, 50.5), r"quality must be a whole number .*got 50.5: round it"),
        (lambda x: thumbnail(x, 0), r"size must lie in \[1, 8\] .*got 0"),
        (lambda x: thumbnail(x, 9), r"size must lie in \[1, 8\] .*got 9"),
        (lambda x: thumbnail(x, 2.5), r"size must be a whole number .*got 2.5: round it"),
        (lambda x: scale_pixels(x, -1), r"factor must lie in .*got -1"),
        (lambda x: scale_pixels(x, np.inf), r"factor must lie in .*got inf"),
        (lambda x: gaussian_noise(x * 255, 0.1), r"pixels must lie in \[0, 1\].*set pixel_range"),
        (lambda x: gaussian_blur(x * np.nan, 1), r"pixels must lie in \[0, 1\], got nan to nan"),
        (lambda x: jpeg(x.astype(int), 50), r"uint8 or floating, got dtype int64: convert"),
        (lambda x: scale_pixels(x.astype(int), 2), r"uint8 or floating, got dtype int64"),
        (lambda x: gaussian_blur(x, 1, pixel_range=(1, 0)), r"pixel_range must be \(lowest"),
        (lambda x: gaussian_blur(x, 1, channel_axis=0), r"channel_axis must be None.*got 0"),
        (
            lambda x: gaussian_blur(x[None, None], 1),
            r"has 2 axes.* and a batch 3.*\(1, 1, 2, 6, 8\)",
        ),
        (lambda x: thumbnail(x[:, :0], 1), r"2 axes, none of them empty, .*got shape \(2, 0, 8\)"),
        (lambda x: jpeg(np.dstack([x] * 4), 9, channel_axis=-1), r"1 or 3 channels, got 32"),
    ],
)
def test_bad_input_gives_an_error_of_one_line(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call(np.ones((2, 6, 8)))
    assert "\n" not in str(caught.value)


# The transformer


@parametrize_with_checks(
    [
        Distortion("gaussian_noise", 1.0, pixel_range=(-1e4, 1e4)),
        Distortion("scale_pixels", 2.0),
    ]
)
def test_estimator_follows_scikit_learns_rules(estimator, check):
    check(estimator)


@pytest.mark.parametrize("kind", CLIPPED)
def test_distortion_gives_what_its_function_gives(photos, kind):
    images = in_unit(photos)
    step = Distortion(kind, CLIPPED[kind], random_state=0, channel_axis=-1)
    expected = distort(kind, images, channel_axis=-1)
    np.testing.assert_array_equal(step.transform(images), expected)  # without fit: no state
    np.testing.assert_array_equal(clone(step).fit_transform(images), expected)


def test_distortion_brings_flat_rows_into_shape():
    X, _ = load_digits(return_X_y=True)
    step = Distortion("gaussian_blur", 1.0, pixel_range=(0, 16), input_shape=(8, 8))
    expected = gaussian_blur(X.reshape(-1, 8, 8), 1.0, pixel_range=(0, 16)).reshape(-1, 64)
    np.testing.assert_array_equal(step.fit_transform(X), expected)
    assert len(step.get_feature_names_out()) == 64


@pytest.mark.parametrize("channel_axis", [None, 1, -1])
def test_noise_on_flat_rows_is_keyed_by_the_row(channel_axis):
    X = load_digits().data[:20] / 16
    step = Distortion("gaussian_noise", 0.1, random_state=3, channel_axis=channel_axis)
    noisy = step.fit_transform(X)
    assert noisy.shape == X.shape
    np.testing.assert_array_equal(step.transform(X[::-1]), noisy[::-1])


def test_distortion_lowers_accuracy_inside_a_pipeline():
    X, y = load_digits(return_X_y=True)
    noise = Distortion("gaussian_noise", 0.0, random_state=0, pixel_range=(0, 16))
    pipe = make_pipeline(noise, LogisticRegression(max_iter=3000)).fit(X[:1000], y[:1000])
    scores = [
        pipe.set_params(distortion__severity=sigma).score(X[1000:], y[1000:])
        for sigma in (0, 2, 4, 8)
    ]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.85
    assert scores[-1] < 0.6


@pytest.mark.parametrize(
    ("step", "shape", "message"),
    [
        (Distortion("fog"), (2, 8, 8), r"kind must be one of \['gaussian_blur', .*got 'fog'"),
        (Distortion("jpeg", 50), (2, 64), r"flat rows: set input_shape, such as"),
        (Distortion("jpeg", 50), (2, 3, 8, 8), r"channel_axis=None X needs 3 axes.*\(2, 3, 8, 8\)"),
        (Distortion("jpeg", 50, channel_axis=-1), (2, 8, 8), r"X needs 4 axes.*got X \(2, 8, 8\)"),
        (Distortion("jpeg", 50, input_shape=(8, 8, 1)), (2, 64), r"input_shape=\(8, 8, 1\)"),
        (Distortion("jpeg", 50, input_shape=(8, 9)), (2, 64), r"input_shape=\(8, 9\)"),
    ],
)
def test_distortion_refuses_what_it_cannot_do_at_fit(step, shape, message):
    with pytest.raises(ValueError, match=message):
        step.fit(np.zeros(shape))
