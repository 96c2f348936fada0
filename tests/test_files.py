"""Files that are there whole or not at all, and what dead processes left."""

import multiprocessing
import os
import time

import numpy as np
import pytest
from full_disk import files_of_at_most

from sklearn_densconf import _files
from sklearn_densconf._files import (
    is_sound,
    is_unfinished,
    sweep,
    whole_file,
    whole_files,
    write_array,
    write_content,
)

ARRAY = np.arange(12.0).reshape(4, 3)


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "file"
    write_content(path, b"first")
    write_content(path, b"second")
    assert path.read_bytes() == b"second"
    assert os.listdir(tmp_path) == ["file"]


def _fail_in_a_file(path, error):
    with whole_file(path) as unfinished:
        unfinished.write_bytes(b"sec")
        raise error


def _fail_in_a_folder(path, error):
    with whole_files(path.parent) as unfinished:
        (unfinished / path.name).write_bytes(b"sec")
        raise error


@pytest.mark.parametrize("fail", [_fail_in_a_file, _fail_in_a_folder])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, MemoryError])
def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path, error, fail):
    path = tmp_path / "file"
    write_content(path, b"first")
    with pytest.raises(error):
        fail(path, error)
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["file"]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    write_content(path, b"first")
    with files_of_at_most(10_000), pytest.raises(OSError, match="File too large"):
        write_content(path, bytes(20_000))
    with files_of_at_most(10_000), pytest.raises(OSError, match="File too large"):
        write_array(path, [np.zeros(10_000)], (10_000,), float, "zeros")
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["file"]


def test_several_files_appear_together(tmp_path):
    with whole_files(tmp_path / "folder") as unfinished:
        for name in "ab":
            (unfinished / name).write_text(name)
        assert not (tmp_path / "folder" / "a").exists()
    assert sorted(os.listdir(tmp_path / "folder")) == ["a", "b"]


def _begin_and_die(path):
    with whole_file(path) as unfinished:
        unfinished.write_bytes(b"half")
        os._exit(1)


def _left_by_a_dead_process(folder):
    child = multiprocessing.get_context("fork").Process(target=_begin_and_die, args=(folder / "x",))
    child.start()
    child.join()
    (left,) = folder.iterdir()
    assert is_unfinished(left)
    return left


def test_what_a_dead_process_left_is_swept(tmp_path):
    left = _left_by_a_dead_process(tmp_path)
    sweep(tmp_path)
    assert not left.exists()


def test_what_a_process_of_the_same_number_left_is_swept(tmp_path):
    left = _left_by_a_dead_process(tmp_path)
    machine, _, rest = left.name.removeprefix("unfinished-").split("-")
    same = left.rename(tmp_path / f"unfinished-{machine}-{os.getpid()}-{rest}")
    sweep(tmp_path)
    assert not same.exists()


def test_what_is_being_written_is_not_swept(tmp_path):
    others = [
        f"unfinished-{_files._machine()}-1-{'0' * 32}.tmp",  # a process that runs
        f"unfinished-{'0' * 12}-1-{'0' * 32}.tmp",  # another machine
        f"unfinished-{'0' * 32}.tmp",  # an older version
        "unfinished-thesis.tmp",
    ]
    for name in others:
        (tmp_path / name).touch()
    with whole_file(tmp_path / "file") as unfinished:
        unfinished.write_bytes(b"whole")
        sweep(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted(["file", *others])


def test_what_another_machine_left_is_swept_after_a_day(tmp_path):
    left = tmp_path / f"unfinished-{'0' * 12}-1-{'0' * 32}.tmp"
    left.touch()
    os.utime(left, (time.time() - 90_000,) * 2)
    sweep(tmp_path)
    assert not left.exists()


def test_a_folder_that_is_not_there_has_nothing_to_sweep(tmp_path):
    sweep(tmp_path / "none")


def _every_bit(content):
    for position in range(len(content)):
        yield content[:position] + bytes([content[position] ^ 16]) + content[position + 1 :]


def test_an_array_is_sound_only_as_it_was_written(tmp_path):
    path = tmp_path / "array.npy"
    write_array(path, [ARRAY[:1], ARRAY[1:]], (4, 3), float, "key")
    np.testing.assert_array_equal(np.load(path), ARRAY)
    assert is_sound(path, "key", 4)
    assert not is_sound(path, "another", 4)
    assert not is_sound(path, "key", 3)
    content = path.read_bytes()
    for other in (*_every_bit(content), content[:-1], content + b"0", b""):
        path.write_bytes(other)
        assert not is_sound(path, "key", 4)
    assert not is_sound(tmp_path / "none", "key", 4)
