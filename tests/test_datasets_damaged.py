"""Readers of data on damaged and hostile files: bombs, links, pipes, cut and changed bytes."""

import gzip
import os
import struct
import tracemalloc
import zlib
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from sklearn_densconf.datasets import load_image_folder, load_imagenet, read_idx
from sklearn_densconf.datasets._imagenet import _read_ground_truth

WNIDS = ["n01440764", "n01443537"]  # classes 0 and 1


def write_kit(folder, synsets, numbers, **options):
    devkit = folder / "ILSVRC2012_devkit_t12" / "data"
    devkit.mkdir(parents=True, exist_ok=True)
    rows = [[row] for row in synsets]
    fields = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("children", "O")]
    savemat(devkit / "meta.mat", {"x": np.eye(3), "synsets": np.array(rows, fields)}, **options)
    (devkit / "ILSVRC2012_validation_ground_truth.txt").write_text("\n".join(map(str, numbers)))
    return devkit


@pytest.fixture(scope="module")
def whole_kit(tmp_path_factory):
    """A development kit of all classes, its numbers and WordNet ids, and the folder of it."""
    folder = tmp_path_factory.mktemp("kit")
    wnids = imagenet_wnids()
    numbers = np.random.default_rng(0).permutation(1000) + 1
    words = [f"words of {wnid}" for wnid in wnids]
    synsets = list(zip(numbers.tolist(), wnids, words, [np.arange(3)] * 1000, strict=True))
    synsets.append((1001, "n00001740", "entity", np.arange(2)))
    truth = np.random.default_rng(1).permutation(np.repeat(numbers, 50))
    write_kit(folder, synsets, truth, do_compression=True)
    expected = np.argsort(numbers)[truth - 1]  # place of the class among the sorted WordNet ids
    (folder / "val").mkdir()
    for place in np.flatnonzero(np.isin(expected, [0, 155, 999])):
        (folder / "val" / f"ILSVRC2012_val_{place + 1:08d}.JPEG").touch()
    return folder, expected


def imagenet_wnids():
    folder = resources.files("sklearn_densconf.datasets")
    return folder.joinpath("imagenet_wnids.txt").read_text().split()


def test_a_whole_validation_set_has_the_classes_of_its_kit(whole_kit):
    folder, expected = whole_kit
    pictures = load_imagenet(folder)
    places = [int(Path(path).stem[-8:]) - 1 for path in pictures.paths]
    assert len(places) == 150
    np.testing.assert_array_equal(pictures.y, expected[places])


def read_or_refuse(read, folder, message):
    """Return what is read, or None where it is refused with the message; nothing else may be."""
    try:
        return read(folder)
    except ValueError as error:
        if message in str(error) and "unpack it again" in str(error):
            return None
        raise


@pytest.mark.parametrize("name", ["meta.mat", "ILSVRC2012_validation_ground_truth.txt"])
def test_a_damaged_development_kit_is_refused_and_never_read_as_another(whole_kit, name):
    folder, expected = whole_kit
    path = folder / "ILSVRC2012_devkit_t12" / "data" / name
    original = path.read_bytes()
    rng = np.random.default_rng(2)
    wnids = imagenet_wnids()
    n_refused = 0
    try:
        for _ in range(60):
            damaged = bytearray(original)
            place = int(rng.integers(len(damaged)))
            if rng.random() < 0.2:
                del damaged[place:]
            else:
                damaged[place] ^= 1 << int(rng.integers(8))
            path.write_bytes(damaged)
            found = read_or_refuse(_read_ground_truth, folder, f"{name} is damaged")
            n_refused += found is None
            assert found in (None, [wnids[k] for k in expected])
    finally:
        path.write_bytes(original)
    assert n_refused >= 50


def test_damaged_kits_without_a_checksum_inside_are_refused_too(make_tree):
    folder = make_tree("val/ILSVRC2012_val_00000001.JPEG", "val/ILSVRC2012_val_00000002.JPEG")
    synsets = [(n, wnid, "words", np.arange(3)) for n, wnid in zip([2, 1], WNIDS, strict=False)]
    path = write_kit(folder, synsets, [2, 2]) / "meta.mat"
    original, rng = path.read_bytes(), np.random.default_rng(3)
    assert load_imagenet(folder).y.tolist() == [0, 0]
    for _ in range(1000):
        damaged = bytearray(original)
        for place in rng.integers(len(damaged), size=rng.integers(1, 4)):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        found = read_or_refuse(load_imagenet, folder, "is damaged")
        assert found is None or found.y.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("synsets", "numbers", "message"),
    [
        (
            [(1, WNIDS[0]), (1, WNIDS[1])],
            [1, 1],
            r"meta\.mat is damaged: its classes",
        ),
        (
            [(1, WNIDS[0]), (2, WNIDS[0])],
            [1, 1],
            r"meta\.mat is damaged: its classes",
        ),
        (
            [(1, WNIDS[0]), (2, "n00000001")],
            [1, 1],
            r"meta\.mat is damaged: its classes",
        ),
        (
            [(1, WNIDS[0]), (2, WNIDS[1])],
            [1, 3],
            r"ground_truth\.txt is damaged: b'3' is not",
        ),
        (
            [(1, WNIDS[0]), (2, WNIDS[1])],
            [1, "x"],
            r"ground_truth\.txt is damaged: b'x' is not",
        ),
        (
            [(1, WNIDS[0]), (2, WNIDS[1])],
            [1, -1],
            r"ground_truth\.txt is damaged: b'-1' is not",
        ),
    ],
)
def test_a_kit_of_other_classes_is_refused(make_tree, synsets, numbers, message):
    folder = make_tree("val/ILSVRC2012_val_00000001.JPEG", "val/ILSVRC2012_val_00000002.JPEG")
    write_kit(folder, [(*synset, "words", np.arange(3)) for synset in synsets], numbers)
    with pytest.raises(ValueError, match=message):
        load_imagenet(folder)


@pytest.mark.parametrize("version", [b"\x01\x00MI", b"\x00\x02IM", b"HDF5"])
def test_a_kit_of_another_format_is_refused(make_tree, version):
    folder = make_tree("val/ILSVRC2012_val_00000001.JPEG")
    path = write_kit(folder, [(1, WNIDS[0], "words", np.arange(3))], [1]) / "meta.mat"
    content = path.read_bytes()
    path.write_bytes(content[:124] + version + content[128:])
    with pytest.raises(ValueError, match="not a little-endian level 5 MAT-file"):
        load_imagenet(folder)


def test_a_kit_that_unpacks_to_gigabytes_is_refused(make_tree):
    folder = make_tree("val/ILSVRC2012_val_00000001.JPEG")
    path = write_kit(folder, [(1, WNIDS[0], "words", np.arange(3))], [1]) / "meta.mat"
    bomb = zlib.compress(bytes(2**27))
    path.write_bytes(path.read_bytes()[:128] + struct.pack("<II", 15, len(bomb)) + bomb)
    with pytest.raises(ValueError, match="cut short, or has more than 67108864 bytes"):
        load_imagenet(folder)


def link(path, target):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


@pytest.fixture
def two_classes(make_tree):
    return make_tree("cat/1.png", "cat/2.png", "dog/1.png", "dog/old/2.png")


def names_of(pictures, tree):
    return [os.path.relpath(path, tree) for path in pictures.paths]


LINKS = {
    "to the tree": ("dog/up", ".."),
    "to what holds the tree": ("dog/old/up", "../../.."),
    "to itself, as a folder": ("dog/self", "."),
    "to itself, as a link": ("dog/self", "self"),
    "back to the class": ("dog/old/back", ".."),
    "to a folder that is read already": ("dog/same", "old"),
}


@pytest.mark.parametrize(("name", "target"), LINKS.values(), ids=LINKS)
def test_a_link_multiplies_no_picture(two_classes, name, target):
    expected = names_of(load_image_folder(two_classes), two_classes)
    link(two_classes / name, target)
    link(two_classes / f"{name}2", target)
    found = load_image_folder(two_classes)
    assert names_of(found, two_classes) == expected
    assert found.y.tolist() == [0, 0, 1, 1]


def test_a_class_that_is_a_link_to_the_tree_has_no_pictures(two_classes):
    link(two_classes / "emu", ".")
    with pytest.raises(ValueError, match=r"fewer than 2 pictures in 1 of its classes: emu \(0\)"):
        load_image_folder(two_classes)


def test_links_to_pictures_and_folders_elsewhere_are_followed_if_asked(
    two_classes, tmp_path_factory
):
    store = tmp_path_factory.mktemp("store")
    for name in ("1.png", "more/2.png"):
        (store / name).parent.mkdir(exist_ok=True)
        (store / name).touch()
    link(two_classes / "cat" / "linked.png", store / "1.png")
    link(two_classes / "cat" / "store", store)
    link(two_classes / "emu", store)
    found = names_of(load_image_folder(two_classes, links_outside=True), two_classes)
    cat = ["1.png", "2.png", "linked.png", "store/1.png", "store/more/2.png"]
    assert found[:5] == [f"cat/{name}" for name in cat]
    assert found[-2:] == ["emu/1.png", "emu/more/2.png"]


def test_links_out_of_the_folder_are_left_out_with_a_warning(two_classes, tmp_path_factory):
    expected = names_of(load_image_folder(two_classes), two_classes)
    store = tmp_path_factory.mktemp("store")
    (store / "1.png").touch()
    link(two_classes / "cat" / "linked.png", store / "1.png")
    link(two_classes / "cat" / "store", store)
    link(two_classes / "dog" / "inside.png", "../cat/1.png")
    with pytest.warns(UserWarning, match=r"cat has 2 links that lead out .* links_outside=True"):
        found = names_of(load_image_folder(two_classes), two_classes)
    assert set(found) == {*expected, "dog/inside.png"}
    two_classes.parent.joinpath("linked").symlink_to(two_classes)  # the folder itself may be one
    with pytest.warns(UserWarning, match="cat has 2 links"):
        load_image_folder(two_classes.parent / "linked")


def test_too_many_pictures_are_refused(two_classes):
    assert len(load_image_folder(two_classes, max_pictures=4).paths) == 4
    assert len(load_image_folder(two_classes, max_pictures=None).paths) == 4
    with pytest.raises(ValueError, match="has more pictures than max_pictures: raise it"):
        load_image_folder(two_classes, max_pictures=3)


@pytest.mark.parametrize(
    "make",
    [
        os.mkfifo,
        lambda path: path.symlink_to("nowhere.png"),
        lambda path: path.symlink_to(path.name),
        lambda path: path.symlink_to("/dev/null"),
    ],
    ids=["pipe", "broken link", "link to itself", "device"],
)
def test_names_of_pictures_that_are_no_files_are_left_out_with_a_warning(two_classes, make):
    expected = names_of(load_image_folder(two_classes), two_classes)
    make(two_classes / "dog" / "odd.png")
    with pytest.warns(UserWarning, match=r"1 names of pictures that are no files.*odd\.png"):
        found = load_image_folder(two_classes)
    assert names_of(found, two_classes) == expected


def test_a_folder_with_the_name_of_a_picture_is_a_folder(two_classes):
    (two_classes / "cat" / "x.png").mkdir()
    (two_classes / "cat" / "x.png" / "3.png").touch()
    assert "cat/x.png/3.png" in names_of(load_image_folder(two_classes), two_classes)


def test_imagenet_follows_no_link_to_its_own_split(make_tree):
    folder = make_tree(*(f"val/{wnid}/{i}.JPEG" for wnid in WNIDS[:2] for i in (1, 2)))
    for target in ("..", "../..", "."):
        link(folder / "val" / WNIDS[0] / f"link{len(target)}", target)
    assert load_imagenet(folder).y.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("pack", [gzip.compress, lambda values: gzip.compress(values) + bytes(9)])
def test_a_small_file_that_unpacks_to_much_is_refused_before_it_is_unpacked(tmp_path, pack):
    path = tmp_path / "bomb"
    path.write_bytes(pack(bytes([0, 0, 8, 1]) + struct.pack(">I", 2**24) + bytes(2**24)))
    assert path.stat().st_size < 2**15
    assert read_idx(path).size == 2**24
    with pytest.raises(ValueError, match=r"states 16777216 bytes .*than max_bytes=999"):
        read_idx(path, max_bytes=999)
    assert read_idx(path, max_bytes=None).size == read_idx(path, max_bytes=2**24).size == 2**24


def test_what_follows_the_values_is_not_unpacked(tmp_path):
    path = tmp_path / "bomb"
    path.write_bytes(gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 1, 7]) + bytes(2**28), 1))
    tracemalloc.start()
    with pytest.raises(ValueError, match="damaged: more than 9 bytes unpacked, its header says 9"):
        read_idx(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**22


@pytest.mark.parametrize("damage", [lambda packed: packed[:-9], lambda packed: packed + b"x" * 9])
def test_a_damaged_end_of_a_packed_file_is_found(tmp_path, damage):
    path = tmp_path / "cut"
    path.write_bytes(damage(gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 1, 7]))))
    with pytest.raises(ValueError, match=r"cut short or damaged \(.*\); fetch it again"):
        read_idx(path)
