"""Arrays that were seen lately: equal ones are found, exactly, and not hashed."""

import tracemalloc

import numpy as np
import pytest

from sklearn_densconf.features import _array_cache
from sklearn_densconf.features._array_cache import ArrayCache


def _features(values):
    return values[:, :1].astype(np.float32)


@pytest.mark.parametrize("n_values", [1, 2, 7, 64, 1000])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_equal_arrays_are_found_and_others_are_not(dtype, n_values):
    values = np.random.default_rng(0).integers(0, 255, (61, n_values)).astype(dtype)
    cache = ArrayCache(2**24)
    cache.keep("place", values, _features(values))
    np.testing.assert_array_equal(cache.find("place", values.copy()), _features(values))
    for place, other in (
        ("another place", values),
        ("place", values[:-1]),
        ("place", values[::-1].copy()),
        ("place", values.reshape(1, -1)),
        ("place", values.view(f"i{values.itemsize}")),
    ):
        assert cache.find(place, other) is None


def test_an_array_that_differs_in_one_byte_is_another():
    """Keys are made of some rows only; equality is of all bytes."""
    values = np.zeros((200, 3), np.uint8)
    cache = ArrayCache(2**24)
    cache.keep("place", values, _features(values))
    other = values.copy()
    other[1, 2] = 1  # a row between those of the key
    assert _array_cache._key("place", values) == _array_cache._key("place", other)
    assert cache.find("place", other) is None
    cache.keep("place", other, _features(other) + 1)
    assert (cache.find("place", other) == 1).all()
    assert cache.find("place", values) is None


def test_bits_are_compared_so_that_nan_is_nan_and_zero_is_not_negative_zero():
    values, cache = np.array([[np.nan, 0.0]]), ArrayCache(2**20)
    cache.keep("place", values, _features(values))
    assert cache.find("place", values.copy()) is not None
    assert cache.find("place", np.array([[np.nan, -0.0]])) is None


def test_what_is_found_or_kept_is_a_copy():
    values, cache = np.arange(6.0).reshape(3, 2), ArrayCache(2**20)
    features = _features(values)
    cache.keep("place", values, features)
    features.fill(-1)
    values_before = values.copy()
    values += 1
    cache.find("place", values_before).fill(-1)
    np.testing.assert_array_equal(cache.find("place", values_before), _features(values_before))


def test_the_least_recently_used_make_room():
    arrays = [np.full((10, 10), float(number)) for number in range(5)]
    cache = ArrayCache(4 * 840)  # 800 bytes each, and 40 of features
    for values in arrays[:4]:
        cache.keep("place", values, _features(values))
    assert cache.find("place", arrays[0]) is not None
    cache.keep("place", arrays[4], _features(arrays[4]))
    found = [cache.find("place", values) is not None for values in arrays]
    assert found == [True, False, True, True, True]


def test_an_array_too_large_to_keep_is_not_copied():
    large = np.zeros((1000, 1000))
    cache = ArrayCache(2**16)
    tracemalloc.start()
    try:
        cache.keep("place", large, _features(large))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert cache.find("place", large) is None
    assert peak < large.nbytes / 4
