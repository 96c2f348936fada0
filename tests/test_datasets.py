"""Readers of MNIST and of folders of pictures, on the real files and on small trees."""

import gzip
import hashlib
import os
import shutil
import struct
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from sklearn.model_selection import train_test_split

from sklearn_densconf.datasets import load_image_folder, load_imagenet, load_mnist, read_idx

WNIDS = ["n01440764", "n01443537", "n02086240", "n15075141"]  # classes 0, 1, 155 and 999


def idx_bytes(values, code):
    header = bytes([0, 0, code, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return header + values.astype(values.dtype.newbyteorder(">")).tobytes()


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("code", "dtype"),
    [(8, "u1"), (9, "i1"), (11, "i2"), (12, "i4"), (13, "f4"), (14, "f8")],
)
def test_an_idx_file_is_read_back_as_it_was_written(tmp_path, code, dtype, zipped):
    values = np.arange(-12, 12).reshape(2, 3, 4).astype(dtype)
    content = idx_bytes(values, code)
    path = tmp_path / "some-file"
    path.write_bytes(gzip.compress(content) if zipped else content)
    read = read_idx(str(path))
    np.testing.assert_array_equal(read, values)
    assert read.dtype == np.dtype(dtype)
    assert read.dtype.isnative
    assert read.flags.writeable


def test_an_idx_file_with_an_empty_axis_is_empty(tmp_path):
    path = tmp_path / "empty"
    path.write_bytes(idx_bytes(np.empty((0, 28, 28), "u1"), 8))
    assert read_idx(path).shape == (0, 28, 28)


@pytest.mark.parametrize("length", [4, 7, 15, 16, 27])
def test_an_idx_file_cut_anywhere_says_so(tmp_path, length):
    path = tmp_path / "cut"
    content = idx_bytes(np.ones((3, 2, 2), "u1"), 8)  # 16 + 12 bytes
    path.write_bytes(content[:length])
    with pytest.raises(ValueError, match=f"cut is cut short or damaged: {length} bytes .* again"):
        read_idx(path)


@pytest.mark.parametrize("damage", ["cut", "flipped", "garbage after the header"])
def test_a_damaged_gzip_file_says_so(tmp_path, damage):
    content = bytearray(gzip.compress(idx_bytes(np.arange(99, dtype="u1"), 8), mtime=0))
    if damage == "cut":
        del content[-20:]
    elif damage == "flipped":
        content[-6] ^= 1  # in the checksum
    else:
        content[10:14] = b"\xff\xff\xff\xff"
    path = tmp_path / "bad.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"bad.gz is cut short or damaged \(.*\); fetch it again"):
        read_idx(path)


@pytest.mark.parametrize("content", [b"", b"\0\0", b"\x89PNG\r\n\x1a\n", b"\0\0\x07\x01\0\0\0\0"])
def test_what_is_no_idx_file_is_refused(tmp_path, content):
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"not an IDX file, it starts with .*: pass a file"):
        read_idx(path)


@pytest.mark.parametrize(
    ("split", "n", "first"), [("train", 60_000, [5, 0, 4, 1, 9]), ("test", 10_000, [7, 2, 1, 0, 4])]
)
def test_mnist_has_its_known_pictures(mnist_folder, split, n, first):
    X, y = load_mnist(mnist_folder, split=split)
    assert (X.shape, X.dtype) == ((n, 28, 28), np.uint8)
    assert (y.shape, y.dtype) == ((n,), np.int64)
    assert y[:5].tolist() == first
    mean = {"train": 33.3184, "test": 33.7912}[split]  # 0.1307 and 0.1325 of 255
    assert X.mean() == pytest.approx(mean, abs=1e-3)


def test_unpacked_mnist_is_the_same(mnist_folder, tmp_path):
    for path in mnist_folder.glob("t10k-*.gz"):
        (tmp_path / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    for packed, unpacked in zip(
        load_mnist(mnist_folder, split="test"), load_mnist(tmp_path, split="test"), strict=True
    ):
        np.testing.assert_array_equal(packed, unpacked)


def test_mnist_cut_short_is_refused(mnist_folder, tmp_path):
    shutil.copytree(mnist_folder, tmp_path / "mnist")
    path = tmp_path / "mnist" / "t10k-images-idx3-ubyte.gz"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=r"t10k-images-idx3-ubyte.gz is cut short or damaged"):
        load_mnist(tmp_path / "mnist", split="test")


def test_a_data_set_with_the_names_of_mnist_is_refused(data_folder):
    with pytest.raises(ValueError, match=r"has md5 bef4eca.* instead of 9fb629c.*with read_idx"):
        load_mnist(data_folder / "fashion_mnist", split="test")


def test_fashion_mnist_is_read_by_its_format(data_folder):
    folder = data_folder / "fashion_mnist"
    assert read_idx(folder / "t10k-images-idx3-ubyte.gz").shape == (10_000, 28, 28)
    counts = np.bincount(read_idx(folder / "t10k-labels-idx1-ubyte.gz"))
    np.testing.assert_array_equal(counts, [1000] * 10)


def test_mnist_says_which_file_is_missing(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"neither train-images-idx3-ubyte\.gz nor .*openml"
    ):
        load_mnist(tmp_path)


def test_mnist_refuses_an_unknown_split(tmp_path):
    with pytest.raises(ValueError, match=r"one of \['test', 'train'\], got 'val'"):
        load_mnist(tmp_path, split="val")


def test_a_folder_is_listed_by_class_and_name(make_tree):
    folder = make_tree("b/2.PNG", "b/1.jpeg", "a/z.jpg", "a/deeper/1.webp")
    pictures = load_image_folder(str(folder))
    names = [os.path.relpath(path, folder) for path in pictures.paths]
    assert names == [os.path.join("a", "deeper", "1.webp"), "a/z.jpg", "b/1.jpeg", "b/2.PNG"]
    assert pictures.y.tolist() == [0, 0, 1, 1]
    assert pictures.y.dtype == np.int64
    assert pictures.classes.tolist() == ["a", "b"]


def test_hidden_files_and_other_files_are_passed_over(make_tree):
    folder = make_tree(
        "a/1.png", "a/2.png", "a/._2.png", "a/notes.txt", "a/.git/3.png", ".hidden/4.png", "5.png"
    )
    assert [Path(path).name for path in load_image_folder(folder).paths] == ["1.png", "2.png"]


def test_links_to_folders_are_followed(make_tree):
    folder = make_tree("real/store/1.png", "real/store/2.png", "tree/a/0.png")
    (folder / "tree" / "a" / "more").symlink_to(folder / "real" / "store")
    assert len(load_image_folder(folder / "tree", links_outside=True).paths) == 3


def test_paths_go_through_cross_validation_and_open_as_the_pictures_they_are(tmp_path):
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    for i in range(6):
        (tmp_path / f"{i % 2}").mkdir(exist_ok=True)
        pixels = rng.integers(0, 256, (8, 8), dtype=np.uint8)
        image.fromarray(pixels).save(tmp_path / f"{i % 2}" / f"{pixels[0, 0]}.png")
    pictures = load_image_folder(tmp_path)
    for part in train_test_split(pictures.paths, stratify=pictures.y, test_size=2)[:2]:
        for path in part:
            with image.open(path) as picture:
                assert picture.getpixel((0, 0)) == int(Path(path).stem)


def test_classes_without_enough_pictures_are_named(make_tree):
    folder = make_tree("a/1.png", "b/1.png", "b/2.png", "c/notes.txt")
    with pytest.raises(ValueError, match=r"fewer than 2 pictures in 2 of its .*: a \(1\), c \(0\)"):
        load_image_folder(folder)
    assert load_image_folder(folder, min_pictures=0).y.tolist() == [0, 1, 1]


@pytest.mark.parametrize("names", [["readme.txt"], ["a/readme.txt"], ["flat.png"]])
def test_a_folder_without_pictures_says_what_was_expected(make_tree, names):
    with pytest.raises(ValueError, match=r"has no pictures: expected .*<class>.*\.jpg"):
        load_image_folder(make_tree(*names))


@pytest.mark.parametrize("load", [load_image_folder, load_imagenet])
def test_a_folder_that_does_not_exist_is_refused(tmp_path, load):
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder: pass"):
        load(tmp_path / "nowhere")


def test_the_numbers_of_imagenet_are_those_of_timm(make_tree):
    folder = make_tree(*(f"val/{wnid}/{i}.JPEG" for wnid in WNIDS for i in (1, 2)))
    pictures = load_imagenet(folder)
    assert pictures.y.tolist() == [0, 0, 1, 1, 155, 155, 999, 999]
    installed = find_spec("timm")  # not imported: its package may need a torchvision that is broken
    if installed is None:
        pytest.skip("timm is not installed")
    theirs = Path(installed.origin).parent / "data" / "_info" / "imagenet_synsets.txt"
    assert pictures.classes.tolist() == theirs.read_text().split()


def test_the_classes_of_one_reading_are_not_those_of_the_next(make_tree):
    folder = make_tree("val/n01440764/1.JPEG", "val/n01440764/2.JPEG")
    load_imagenet(folder).classes[:] = ""
    assert load_imagenet(folder).classes[0] == "n01440764"


@pytest.fixture
def flat_validation(make_tree):
    """Six flat pictures with a development kit, and the class of each as an entry of WNIDS."""
    labels = [0, 3, 2, 0, 2, 3]
    folder = make_tree(*(f"flat/val/ILSVRC2012_val_{i:08d}.JPEG" for i in range(1, 7))) / "flat"
    devkit = folder / "ILSVRC2012_devkit_t12" / "data"
    devkit.mkdir(parents=True)
    # As in the real kit: ids in an order of their own, and inner nodes of the hierarchy after them.
    ids = [4, 1, 3, 2, 1001]
    rows = [[row] for row in zip(ids, [*WNIDS, "n00001740"], strict=True)]
    synsets = np.array(rows, dtype=[("ILSVRC2012_ID", "O"), ("WNID", "O")])
    savemat(devkit / "meta.mat", {"synsets": synsets})
    lines = [f"{ids[label]}\n" for label in labels]
    (devkit / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(lines))
    return folder, labels


def test_flat_validation_pictures_are_listed_like_those_in_folders(flat_validation, make_tree):
    flat, labels = flat_validation
    names = [f"{WNIDS[k]}/ILSVRC2012_val_{i:08d}.JPEG" for i, k in enumerate(labels, start=1)]
    tree = make_tree(*(f"tree/val/{name}" for name in names)) / "tree"
    ours, theirs = load_imagenet(flat), load_imagenet(tree)
    assert ours.y.tolist() == theirs.y.tolist() == [0, 0, 155, 155, 999, 999]
    assert [Path(p).name for p in ours.paths] == [Path(p).name for p in theirs.paths]


@pytest.mark.parametrize("name", ["ILSVRC2012_val_00000007", "ILSVRC2012_val_00000000", "cat"])
def test_a_flat_picture_outside_the_ground_truth_is_refused(flat_validation, name):
    (flat_validation[0] / "val" / f"{name}.JPEG").touch()
    with pytest.raises(ValueError, match=f"{name}.JPEG has no entry in .* of 6 pictures: expected"):
        load_imagenet(flat_validation[0])


def test_flat_pictures_need_the_development_kit(make_tree):
    folder = make_tree("val/ILSVRC2012_val_00000001.JPEG")
    with pytest.raises(FileNotFoundError, match=r"no meta\.mat: unpack ILSVRC2012_devkit"):
        load_imagenet(folder)


def test_collections_side_by_side_are_joined(make_tree):
    names = [f"x/train/{WNIDS[1]}/1.JPEG", f"y/train/{WNIDS[1]}/1.JPEG", "readme/notes.txt"]
    folder = make_tree(*names, *(f"y/train/{WNIDS[0]}/{i}.JPEG" for i in (1, 2)))
    pictures = load_imagenet(folder, split="train")
    assert pictures.y.tolist() == [0, 0, 1, 1]
    assert [os.path.relpath(path, folder)[0] for path in pictures.paths] == ["y", "y", "x", "y"]


@pytest.mark.parametrize(("split", "n_pictures"), [("train", 3200), ("val", 1000)])
def test_the_real_collections_agree_with_their_own_index(imagenet_folder, split, n_pictures):
    pandas = pytest.importorskip("pandas")
    pictures = load_imagenet(imagenet_folder, split=split)
    found = dict(zip(pictures.paths, pictures.y, strict=True))
    index = pandas.concat(
        pandas.read_csv(path).assign(folder=str(path.parent))
        for path in imagenet_folder.glob("*/index.csv")
    ).query("split == @split")
    expected = dict(zip(index.folder + os.sep + index.path, index.class_index, strict=True))
    assert len(found) == n_pictures
    assert found == expected
    assert (np.diff(pictures.y) >= 0).all()
    assert pictures.paths == load_imagenet(imagenet_folder, split=split).paths


def test_one_real_collection_is_its_part_of_both(imagenet_folder):
    both = load_imagenet(imagenet_folder)
    one = load_imagenet(imagenet_folder / "imagewoof320")
    assert len(one.paths) == 500
    assert one.paths == [path for path in both.paths if "imagewoof320" in path]


def test_the_first_real_picture_is_the_one_in_the_index(imagenet_folder):
    path = load_imagenet(imagenet_folder / "imagenette224").paths[0]
    checksum = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    assert checksum.startswith("401ebd3773271b97")


def test_a_missing_split_says_what_there_is(make_tree):
    with pytest.raises(FileNotFoundError, match=r"no split 'val', only \['train'\]: expected"):
        load_imagenet(make_tree(f"train/{WNIDS[0]}/1.JPEG"))


def test_an_unknown_split_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"one of \['train', 'val'\], got 'test'"):
        load_imagenet(tmp_path, split="test")


def test_folders_that_are_no_wordnet_ids_are_refused(make_tree):
    with pytest.raises(ValueError, match=r"not WordNet ids .*: \['cat'\]; .*use load_image_folder"):
        load_imagenet(make_tree("val/cat/1.JPEG", f"val/{WNIDS[0]}/1.JPEG"))


def test_a_class_of_imagenet_with_one_picture_is_refused(make_tree):
    with pytest.raises(ValueError, match=r"fewer than 2 pictures in 1 of .*: n01440764 \(1\)"):
        load_imagenet(make_tree(f"val/{WNIDS[0]}/1.JPEG"))


@pytest.mark.parametrize("name", ["val/readme.txt", f"val/{WNIDS[0]}/readme.txt"])
def test_a_split_without_pictures_is_refused(make_tree, name):
    with pytest.raises(ValueError, match="val has no pictures: expected"):
        load_imagenet(make_tree(name))
