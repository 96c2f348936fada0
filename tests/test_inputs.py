"""What can be X: arrays, tensors, flat rows, paths, images, Datasets; and what cannot."""

import io
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from networks import Convolutional
from PIL import Image, ImageCms
from torch import nn
from torch.utils.data import Dataset, Subset

from sklearn_densconf import FeatureExtractor
from sklearn_densconf.features.inputs._pictures import Pictures, Plain
from sklearn_densconf.features.inputs._rows import Rows

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (6, 12, 12), np.uint8)
COLOUR = RNG.integers(0, 256, (6, 12, 10, 3), np.uint8)


@pytest.fixture(scope="module")
def features():
    """Features of `GREY` and of `COLOUR` as floats in [0, 1], channels first."""
    colour = COLOUR.transpose(0, 3, 1, 2) / np.float32(255)
    return {
        "grey": _extracted(GREY[:, None] / np.float32(255)),
        "colour": _extracted(colour, n_channels=3),
    }


def _extracted(X, n_channels=1, **parameters):
    return FeatureExtractor(Convolutional(n_channels=n_channels), **parameters).fit_transform(X)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Paths of `GREY` and of `COLOUR` as PNG files."""
    folder = tmp_path_factory.mktemp("pictures")
    for kind, pictures in {"grey": GREY, "colour": COLOUR}.items():
        for number, pixels in enumerate(pictures):
            Image.fromarray(pixels).save(folder / f"{kind}_{number}.png")
    return {
        kind: [str(folder / f"{kind}_{number}.png") for number in range(6)]
        for kind in ("grey", "colour")
    }


class _Labelled(Dataset):
    def __init__(self, pictures):
        self.pictures = pictures

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, index):
        return self.pictures[index], index % 2


FLOATS = GREY[:, None] / np.float32(255)
GREYS = {
    "float32": lambda: FLOATS,
    "float64": lambda: FLOATS.astype(float),
    "big-endian": lambda: FLOATS.astype(">f4"),
    "negative strides": lambda: np.ascontiguousarray(FLOATS[:, :, ::-1, ::-1])[:, :, ::-1, ::-1],
    "read-only": lambda: _read_only(FLOATS),
    "fortran": lambda: np.asfortranarray(FLOATS),
    "nested lists": FLOATS.tolist,
    "tensor": lambda: torch.from_numpy(FLOATS),
    "float64 tensor": lambda: torch.from_numpy(FLOATS).double().requires_grad_(),
    "pixels": lambda: GREY,
    "pixels with a channel": lambda: GREY[:, None],
    "pixels, channel last": lambda: GREY[..., None],
    "pixel tensor": lambda: torch.from_numpy(GREY),
    "images": lambda: [Image.fromarray(pixels) for pixels in GREY],
    "list of arrays": lambda: list(GREY),
    "list of float arrays": lambda: list(FLOATS),
    "list of tensors": lambda: list(torch.from_numpy(FLOATS)),
    "list of pixel tensors": lambda: list(torch.from_numpy(GREY[:, None])),
    "tuple of images": lambda: tuple(Image.fromarray(pixels) for pixels in GREY),
    "labelled Dataset": lambda: _Labelled(torch.from_numpy(FLOATS)),
    "Dataset of images": lambda: _Labelled([Image.fromarray(pixels) for pixels in GREY]),
    "Subset": lambda: Subset(_Labelled(torch.from_numpy(FLOATS)), range(6)),
}


def _read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("make", GREYS.values(), ids=GREYS)
def test_grey_pictures_of_every_kind_give_the_same_features(features, make):
    np.testing.assert_allclose(_extracted(make()), features["grey"], rtol=1e-5, atol=1e-6)


def test_float16_gives_the_features_of_its_values(features):
    half = FLOATS.astype(np.float16)
    np.testing.assert_array_equal(_extracted(half), _extracted(half.astype(np.float32)))
    np.testing.assert_allclose(_extracted(half), features["grey"], atol=2e-3)


COLOURS = {
    "pixels": lambda: COLOUR,
    "pixels, channels first": lambda: COLOUR.transpose(0, 3, 1, 2),
    "images": lambda: [Image.fromarray(pixels) for pixels in COLOUR],
    "images with alpha": lambda: [Image.fromarray(p).convert("RGBA") for p in COLOUR],
    "list of arrays": lambda: list(COLOUR),
    "pixel tensor": lambda: torch.from_numpy(COLOUR),
}


@pytest.mark.parametrize("make", COLOURS.values(), ids=COLOURS)
def test_colour_pictures_of_every_kind_give_the_same_features(features, make):
    result = _extracted(make(), n_channels=3)
    np.testing.assert_allclose(result, features["colour"], rtol=1e-5, atol=1e-6)


PATHS = {
    "list": list,
    "tuple": tuple,
    "array": np.array,
    "object array": lambda paths: np.array(paths, dtype=object),
    "column": lambda paths: np.array(paths, dtype=object)[:, None],
    "Series": pd.Series,
    "DataFrame": lambda paths: pd.DataFrame({"path": paths}),
    "Dataset": _Labelled,
}


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("make", PATHS.values(), ids=PATHS)
def test_paths_of_every_kind_give_the_features_of_their_pictures(
    features, files, make, num_workers
):
    result = _extracted(make(files["grey"]), batch_size=2, num_workers=num_workers)
    np.testing.assert_allclose(result, features["grey"], rtol=1e-5, atol=1e-6)


def test_input_shape_says_whether_paths_are_read_in_grey_or_in_colour(files):
    grey = [np.asarray(Image.open(path).convert("L")) for path in files["colour"]]
    result = _extracted(files["colour"], input_shape=(1, 12, 10))
    np.testing.assert_allclose(result, _extracted(np.stack(grey)), rtol=1e-5, atol=1e-6)
    coloured = np.repeat(GREY[..., None], 3, axis=3)
    result = _extracted(files["grey"], 3, input_shape=(3, 12, 12))
    np.testing.assert_allclose(result, _extracted(coloured, 3), rtol=1e-5, atol=1e-6)


def test_flat_rows_are_brought_to_input_shape(features):
    for X in (FLOATS.reshape(6, -1), GREY.reshape(6, -1), pd.DataFrame(FLOATS.reshape(6, -1))):
        result = _extracted(X, input_shape=(1, 12, 12))
        np.testing.assert_allclose(result, features["grey"], rtol=1e-5, atol=1e-6)


def test_rows_in_fit_and_pictures_in_transform_may_be_mixed(features, files):
    extractor = FeatureExtractor(Convolutional(), input_shape=(1, 12, 12))
    extractor.fit(FLOATS.reshape(6, -1))
    for X in (FLOATS, GREY, files["grey"], [Image.fromarray(pixels) for pixels in GREY]):
        np.testing.assert_allclose(extractor.transform(X), features["grey"], rtol=1e-5, atol=1e-6)


def _turned(picture):
    """Turn a picture upside down: a PIL image, or a tensor (c, h, w)."""
    tensor = picture if isinstance(picture, torch.Tensor) else Plain(None)(picture)
    return tensor.flip(1)


@pytest.mark.parametrize("kind", ["float32", "tensor", "pixels", "images", "labelled Dataset"])
def test_preprocessing_is_given_every_picture(kind):
    expected = _extracted(FLOATS[:, :, ::-1])
    result = _extracted(GREYS[kind](), preprocessing=_turned)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


def test_preprocessing_is_given_flat_rows_in_their_shape():
    expected = _extracted(FLOATS[:, :, ::-1])
    for X in (FLOATS.reshape(6, -1), GREY.reshape(6, -1)):
        result = _extracted(X, preprocessing=_turned, input_shape=(1, 12, 12))
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_images_of_every_mode_are_read_grey_ones_in_grey(mode):
    image = Image.new("RGB", (4, 3), (255, 0, 0)).convert(mode)
    assert Plain(None)(image).shape == (1 if mode in ("1", "L", "LA") else 3, 3, 4)


def test_lightness_with_two_colours_is_no_grey_picture():
    grey = Image.new("RGB", (4, 3), (120, 120, 120))
    image = ImageCms.profileToProfile(
        grey, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert image.mode == "LAB"
    colours = Plain(None)(image)
    assert colours.shape == (3, 3, 4)
    np.testing.assert_allclose(colours, 120 / 255, atol=2 / 255)
    np.testing.assert_allclose(Plain((1, 3, 4))(image), 120 / 255, atol=2 / 255)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_images_with_pixels_beyond_255_are_refused_not_clipped(dtype):
    images = [Image.fromarray(GREY[0].astype(dtype))]
    with pytest.raises(
        ValueError, match="has pixels outside 0-255, which PIL would clip"
    ) as caught:
        FeatureExtractor(Convolutional()).fit(images)
    assert caught.value.__notes__ == ["This was while preprocessing sample 0."]
    for backbone in ("torchvision:resnet18?weights=none", "timm:resnet18?weights=none"):
        with pytest.raises(ValueError, match="has pixels outside 0-255") as caught:
            FeatureExtractor(backbone).fit(images)
        assert caught.value.__notes__ == ["This was while preprocessing sample 0."]


def _png_of_16_bits(channels, colour_type):
    """Write a PNG by hand: PIL writes no colours of 16 bits."""

    def chunk(name, data):
        check = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", check)

    pixels = np.random.default_rng(0).integers(0, 4096, (12, 12, channels)).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", 12, 12, 16, colour_type, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


@pytest.mark.parametrize(
    ("channels", "colour_type"), [(3, 2), (4, 6), (2, 4)], ids=["RGB", "RGBA", "LA"]
)
@pytest.mark.parametrize("way", ["file", "content", "image"])
def test_pictures_in_colour_of_16_bits_are_refused(channels, colour_type, way, tmp_path):
    content, file = _png_of_16_bits(channels, colour_type), tmp_path / "deep.png"
    file.write_bytes(content)
    picture = content if way == "content" else file
    if way == "image":
        picture = Image.open(io.BytesIO(content))
    network = torch.nn.Flatten()
    with pytest.raises(ValueError, match="has 16 bits in each channel, of which PIL keeps the upp"):
        FeatureExtractor(network).fit([picture])
    with pytest.raises(ValueError, match="has 16 bits in each channel"):
        FeatureExtractor(network, exif_transpose=True).fit([picture])

    def upper(image):
        return torch.tensor(np.asarray(image.convert("L"))) / 15

    assert FeatureExtractor(network, preprocessing=upper).fit_transform([picture]).max() > 0.5


def test_large_finite_values_pass_and_larger_ones_are_refused():
    X = np.full((3, 4), 1e30)
    np.testing.assert_array_equal(FeatureExtractor(nn.Identity()).fit_transform(X), np.float32(X))
    X[:] = 3e38  # whose sum is not finite
    np.testing.assert_array_equal(FeatureExtractor(nn.Identity()).fit_transform(X), np.float32(X))
    for value in (1e300, np.nan, -np.inf):
        X[1, 2] = value
        extractor = FeatureExtractor(nn.Identity(), batch_size=1).fit(X[:1])
        with pytest.raises(ValueError, match=r"NaN, infinity or a value too large .* in sample 1"):
            extractor.transform(X)


def test_a_picture_that_is_missing_is_named(files):
    with pytest.raises(FileNotFoundError, match=r"there is no picture '.*nowhere\.png'"):
        FeatureExtractor(Convolutional()).fit(["/nowhere.png"])
    extractor = FeatureExtractor(Convolutional()).fit(files["grey"])
    with pytest.raises(FileNotFoundError, match=r"there is no picture '.*nowhere\.png'"):
        extractor.transform([*files["grey"], "/nowhere.png"])


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize("kept", [0, 10, -30])
def test_a_picture_that_cannot_be_decoded_is_named(files, tmp_path, kept, num_workers):
    broken = tmp_path / "broken.png"
    broken.write_bytes(Path(files["grey"][0]).read_bytes()[:kept])
    extractor = FeatureExtractor(Convolutional(), num_workers=num_workers).fit(files["grey"])
    with pytest.raises(ValueError, match=r"cannot decode the picture '.*broken\.png'"):
        extractor.transform([*files["grey"], str(broken)])


def test_a_file_without_pictures_fails_before_any_picture_is_decoded(files, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    decoded = []

    def read(picture):
        decoded.append(picture)
        return Plain(None)(picture)

    extractor = FeatureExtractor(Convolutional(), preprocessing=read).fit(files["grey"])
    before = len(decoded)
    with pytest.raises(ValueError, match=r"cannot decode the picture '.*text\.png'"):
        extractor.transform([*files["grey"], tmp_path / "text.png"])
    assert len(decoded) == before + 1  # the first one, to learn whether its shape is right


@pytest.mark.parametrize("num_workers", [0, 1])
def test_pictures_of_several_sizes_are_told_by_path(files, tmp_path, num_workers):
    shutil.copy(files["grey"][0], tmp_path)
    small = tmp_path / "small.png"
    Image.fromarray(GREY[0, :11]).save(small)
    extractor = FeatureExtractor(Convolutional(), num_workers=num_workers)
    message = r"sample 6 \(.*small\.png\) becomes a tensor of shape \(1, 11, 12\), wanted \(1, 12, "
    with pytest.raises(ValueError, match=message):
        extractor.fit_transform([*files["grey"], small])


def test_a_grey_picture_among_those_in_colour_is_told_the_mode_to_bring_it_to():
    extractor = FeatureExtractor(Convolutional(n_channels=3), preprocessing=Plain(None))
    pictures = [*map(Image.fromarray, COLOUR), Image.fromarray(GREY[0][:, :10])]
    with pytest.raises(ValueError, match=r"\(1, 12, 10\), wanted .* by picture.convert\('RGB'\)$"):
        extractor.fit_transform(pictures)


REFUSED = {
    "another shape": (lambda: FLOATS[:, :, 1:], r"samples of shape \(1, 11, 12\), wanted \(1, 12"),
    "another length": (lambda: FLOATS.reshape(6, -1)[:, 1:], r"shape \(143,\), wanted \(1, 12, 12"),
    "more channels": (lambda: COLOUR, r"samples of shape \(3, 12, 10\)|\(12, 10, 3\), wanted"),
    "one axis": (lambda: np.zeros(5), "Expected 2D array, got 1D array"),
    "one tensor axis": (lambda: torch.zeros(5), r"samples along its first axis, got \(5,\)"),
    "no samples": (lambda: FLOATS[:0], "Found array with 0 sample"),
    "an empty tensor": (lambda: torch.zeros(0, 3), r"samples along its first axis, got \(0, 3\)"),
    "an empty list": (list, "X has no samples, got an empty list"),
    "an empty Dataset": (lambda: _Labelled([]), "a Dataset must have a length of at least 1"),
    "text": (lambda: [["a", "b"]], "not compatible with arrays of bytes/strings"),
    "complex numbers": (lambda: FLOATS + 1j, "Complex data not supported"),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_a_sample_is_refused(make, message):
    extractor = FeatureExtractor(Convolutional()).fit(FLOATS)
    with pytest.raises(ValueError, match=message):
        extractor.transform(make())


def test_rows_that_do_not_fill_input_shape_are_refused():
    with pytest.raises(ValueError, match=r"samples of shape \(7,\), wanted \(1, 12, 12\) or flat"):
        _extracted(np.zeros((2, 7)), input_shape=(1, 12, 12))
    with pytest.raises(ValueError, match=r"rows of 7 values, which do not fill \(1, 12, 12\)"):
        _extracted(np.zeros((2, 7)), input_shape=(1, 12, 12), preprocessing=_turned)


def test_a_preprocessing_that_gives_no_tensor_is_refused():
    with pytest.raises(TypeError, match="must give a float tensor, got ndarray for sample 0"):
        _extracted(FLOATS, preprocessing=np.asarray)


def test_a_preprocessing_that_fails_tells_the_sample(files):
    extractor = FeatureExtractor(Convolutional(), preprocessing=_no_third).fit(files["grey"])
    with pytest.raises(ZeroDivisionError) as caught:
        extractor.transform(files["grey"])
    assert caught.value.__notes__ == [
        f"This was while preprocessing sample 2 ({files['grey'][2]})."
    ]


def _no_third(picture):
    if np.array_equal(np.asarray(picture), GREY[2]):
        raise ZeroDivisionError
    return Plain(None)(picture)


def _digests(source):
    return source.digests(np.arange(len(source)))


def test_digests_tell_content_type_shape_and_order_of_axes():
    last = COLOUR[:1]
    first = last.reshape(1, 3, 12, 10)  # the same bytes, read otherwise
    rows = [
        Rows(last, None),
        Rows(first, None),
        Rows(last.reshape(1, -1), None),
        Rows(last.reshape(1, -1).astype(np.int8), None),
        Rows(last + np.uint8(1), None),
        Rows(torch.zeros(1, 2, dtype=torch.bfloat16), None),
    ]
    pictures = [
        Pictures([image], Plain(None), None)
        for image in (
            Image.fromarray(COLOUR[0]),
            Image.fromarray(COLOUR[0].transpose(1, 0, 2)),
            Image.fromarray(COLOUR[1]),
            COLOUR[0],
            torch.from_numpy(COLOUR[0]),
        )
    ]
    assert len({digest for source in rows + pictures for digest in _digests(source)}) == 11


def test_digests_of_palette_images_tell_the_palettes():
    pixels = Image.fromarray(GREY[0])
    images = [pixels.convert("P"), pixels.convert("P")]
    images[1].putpalette(list(range(256)) * 3)
    assert images[0].tobytes() == images[1].tobytes()
    assert len(set(_digests(Pictures(images, Plain(None), None)))) == 2


def test_a_file_that_was_changed_has_another_digest(tmp_path):
    path = tmp_path / "picture.png"
    Image.fromarray(GREY[0]).save(path)
    before = _digests(Pictures([path], Plain(None), None))
    Image.fromarray(GREY[1]).save(path)
    after = _digests(Pictures([path], Plain(None), None))
    Image.fromarray(GREY[0]).save(path)
    assert before != after
    assert _digests(Pictures([path], Plain(None), None)) == before


def test_a_failure_in_a_reading_process_is_not_blamed_on_the_network(files):
    extractor = FeatureExtractor(
        Convolutional(), preprocessing=_unreadable, num_workers=2, batch_size=2
    )
    extractor.fit(files["grey"][:1])
    with pytest.raises(RuntimeError, match=r"no disk[\s\S]*while preprocessing sample 1 \("):
        extractor.transform(files["grey"])


def _unreadable(picture):
    if np.array_equal(np.asarray(picture), GREY[1]):
        raise RuntimeError("no disk")
    return Plain(None)(picture)


def test_a_table_of_uint8_is_no_picture():
    table = RNG.integers(0, 256, (5, 6), np.uint8)
    network = nn.Linear(6, 2)
    with torch.inference_mode():
        expected = network(torch.from_numpy(table).float()).numpy()
    with pytest.warns(UserWarning, match="is a table of uint8"):
        extractor = FeatureExtractor(network).fit(table)
    for same in (table, table.astype(np.int64), table.astype(np.float64), torch.from_numpy(table)):
        np.testing.assert_allclose(extractor.transform(same), expected, rtol=1e-4, atol=1e-4)
        again = FeatureExtractor(network, input_shape=(6,)).fit_transform(same)
        np.testing.assert_allclose(again, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("as_tensor", [False, True])
@pytest.mark.parametrize("fitted", [GREY, GREY[:, None] / np.float32(255)], ids=["uint8", "0-1"])
def test_floats_up_to_255_after_a_fit_to_scaled_pictures_are_warned_of(fitted, as_tensor):
    extractor = FeatureExtractor(Convolutional(), input_shape=(1, 12, 12)).fit(fitted)
    of_pixels = GREY[:, None].astype(np.float64)
    made = torch.from_numpy(of_pixels) if as_tensor else of_pixels
    with pytest.warns(UserWarning, match=r"whole numbers up to 25\d, .* those of fit were"):
        extractor.transform(made)
    same = extractor.transform(GREY)
    np.testing.assert_allclose(extractor.transform(of_pixels / 255), same, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("fitted", "shown"),
    [
        (GREY[:, None].astype(np.float64), GREY[:, None].astype(np.float64)),  # so was the fit
        (GREY[:, None] / 255, GREY[:, None] / 255 * 250.5),  # far too bright, but no pixels
        (GREY[:, None] / 255, GREY[:, None] - 1.0),  # below 0
        (GREY[:, None] / 255, GREY[:, None] * 2.0),  # above 255
    ],
    ids=["as in fit", "bright", "negative", "beyond white"],
)
def test_other_floats_are_taken_as_they_are(fitted, shown):
    extractor = FeatureExtractor(Convolutional()).fit(fitted)
    assert np.isfinite(extractor.transform(shown)).all()


WHOLE = {
    "array": lambda: GREY[:, None].astype(np.int64),
    "without a channel": lambda: GREY.astype(np.uint16),
    "flat rows": lambda: GREY.reshape(6, -1).astype(np.int32),
    "tensor": lambda: torch.from_numpy(GREY[:, None]).int(),
    "list of tensors": lambda: list(torch.from_numpy(GREY[:, None]).int()),
    "list of arrays": lambda: list(GREY[:, None].astype(np.int16)),
}


@pytest.mark.parametrize("make", WHOLE.values(), ids=WHOLE)
def test_pictures_of_whole_numbers_of_unknown_range_are_refused(make):
    extractor = FeatureExtractor(Convolutional(), input_shape=(1, 12, 12)).fit(GREY)
    with pytest.raises(ValueError, match=r"has pictures of u?int\d\d: make pixels in 0-255 uint8"):
        extractor.transform(make())


def test_pictures_of_truth_values_are_zeros_and_ones(features):
    mask = GREY[:, None] > 99
    np.testing.assert_array_equal(_extracted(mask), _extracted(mask.astype(np.float32)))


# One rule for every path: transparency, orientation, formats of arrays.


def _features_of(backbone, X, **given):
    return FeatureExtractor(backbone, **given).fit_transform(X)


BACKBONES = {
    "a module": lambda: Convolutional(n_channels=3),
    "torchvision": lambda: "torchvision:resnet18?weights=none",
    "timm": lambda: "timm:resnet18?weights=none",
}


@pytest.mark.parametrize("backbone", BACKBONES.values(), ids=BACKBONES)
def test_what_is_transparent_lies_on_white_ground(backbone, tmp_path):
    shown = np.full((12, 12, 3), 255, np.uint8)
    shown[3:9, 3:9] = (200, 0, 0)
    drawn = np.zeros((12, 12, 4), np.uint8)
    drawn[3:9, 3:9] = (200, 0, 0, 255)
    expected = _features_of(backbone(), [Image.fromarray(shown)])
    image = Image.fromarray(drawn)
    image.save(tmp_path / "drawn.png")
    palette = image.convert("PA").convert("RGBA")
    for picture in (image, tmp_path / "drawn.png", palette):
        np.testing.assert_allclose(_features_of(backbone(), [picture]), expected, rtol=1e-5)


@pytest.mark.parametrize("backbone", BACKBONES.values(), ids=BACKBONES)
def test_orientation_in_exif_is_followed_where_it_is_asked_for(backbone, tmp_path):
    pixels = Image.fromarray(COLOUR[0, :10])
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    pixels.save(tmp_path / "turned.png", exif=exif)
    lying, standing = [pixels], [pixels.transpose(Image.Transpose.ROTATE_270)]
    paths = [tmp_path / "turned.png"]
    memory = tmp_path / "memory"
    for turned, picture in ((False, lying), (True, standing)):
        expected = _features_of(backbone(), picture)
        found = _features_of(backbone(), paths, exif_transpose=turned, memory=memory)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


ARRAYS = {
    "channels last": COLOUR,
    "channels first": COLOUR.transpose(0, 3, 1, 2),
    "tensor": torch.from_numpy(COLOUR).permute(0, 3, 1, 2),
    "list": list(COLOUR),
    "list of tensors": list(torch.from_numpy(COLOUR).permute(0, 3, 1, 2)),
    "opaque": np.concatenate([COLOUR, np.full((6, 12, 10, 1), 255, np.uint8)], 3),
}


@pytest.mark.parametrize("library", ["torchvision", "timm"])
@pytest.mark.parametrize("pictures", ARRAYS.values(), ids=ARRAYS)
def test_a_librarys_preprocessing_takes_arrays_of_pixels(library, pictures):
    backbone = f"{library}:resnet18?weights=none"
    expected = _features_of(backbone, [Image.fromarray(pixels) for pixels in COLOUR[:2]])
    np.testing.assert_allclose(_features_of(backbone, pictures[:2]), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_a_librarys_preprocessing_takes_grey_pictures(library):
    backbone = f"{library}:resnet18?weights=none"
    expected = _features_of(backbone, [Image.fromarray(pixels) for pixels in GREY[:2]])
    for pictures in (GREY[:2], GREY[:2, None], GREY[:2, ..., None]):
        np.testing.assert_allclose(_features_of(backbone, pictures), expected, 1e-4, 1e-5)
    with pytest.raises(ValueError, match=r"a picture has 1, 3 or 4 channels, got pixels"):
        FeatureExtractor(backbone).fit(np.zeros((2, 2, 9, 9), np.uint8))


def test_a_picture_too_large_to_be_safe_and_a_damaged_header_are_named(
    files, tmp_path, monkeypatch
):
    extractor = FeatureExtractor(Convolutional()).fit(files["grey"])
    damaged = tmp_path / "damaged.ppm"
    damaged.write_bytes(b"P6\n12 x\n255\n")
    with pytest.raises(ValueError, match=r"cannot decode the picture '.*damaged\.ppm'"):
        extractor.transform([damaged])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(ValueError, match=r"cannot decode the picture '.*grey_0\.png': Image size"):
        extractor.transform(files["grey"])
