"""Small products are left to one thread of BLAS, while they last."""

import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from sklearn_densconf import GaussianDensityClassifier
from sklearn_densconf._machine import FEWEST, MOST, one_thread_if_few
from sklearn_densconf.density import _diagonal

K = 40
SEVERAL = 3


@pytest.fixture
def _several_threads():
    with threadpool_limits(SEVERAL, user_api="blas"):
        if _threads() != {SEVERAL}:
            pytest.skip("no BLAS whose threads can be set")
        yield


@pytest.fixture
def unlimited():
    """The threads that BLAS has; threadpoolctl gives their control to whoever limits them first."""
    threads = _threads()
    if not threads or threads == {1}:
        pytest.skip("no BLAS with several threads")
    return threads


def _threads():
    return {of["num_threads"] for of in threadpool_info() if of["user_api"] == "blas"}


@pytest.fixture
def seen(monkeypatch):
    """What is seen of the threads in every product of a density."""
    numbers = set()
    add_product = _diagonal.add_product

    def watched(*args):
        numbers.update(_threads())
        add_product(*args)

    monkeypatch.setattr(_diagonal, "add_product", watched)
    return numbers


@pytest.fixture
def density():
    X, y = np.random.default_rng(0).standard_normal((10 * K, K)), np.arange(10 * K) % K
    return GaussianDensityClassifier().fit(X, y)


@pytest.mark.usefixtures("_several_threads")
@pytest.mark.parametrize(
    "method",
    ["predict", "predict_proba", "confidence", "score_samples", "mahalanobis", "typicality"],
)
def test_a_small_product_has_one_thread_and_gives_the_others_back(density, seen, method):
    getattr(density, method)(np.zeros((10, K)))
    assert seen == {1}
    assert _threads() == {SEVERAL}


@pytest.mark.usefixtures("_several_threads")
@pytest.mark.parametrize("n", [1, MOST // (2 * K * K) + 1])
def test_what_wakes_no_thread_and_what_takes_long_is_left_alone(density, seen, n):
    density.predict(np.zeros((n, K)))
    assert seen == {SEVERAL}


@pytest.mark.usefixtures("_several_threads")
def test_an_error_gives_the_threads_back():
    def fail():
        with one_thread_if_few(FEWEST):
            raise ArithmeticError(_threads())

    with pytest.raises(ArithmeticError, match=r"\{1\}"):
        fail()
    assert _threads() == {SEVERAL}


def test_whoever_comes_second_and_leaves_last_changes_nothing(unlimited):
    entered, may_leave = threading.Event(), threading.Event()

    def first():
        with one_thread_if_few(FEWEST):
            entered.set()
            may_leave.wait(timeout=60)

    thread = threading.Thread(target=first)
    thread.start()
    entered.wait(timeout=60)
    with one_thread_if_few(FEWEST):
        assert _threads() == {1}
        may_leave.set()
        thread.join()
        assert _threads() == unlimited
    assert _threads() == unlimited


def test_the_threads_come_back_after_many_users_at_once(unlimited):
    def often():
        for _ in range(200):
            with one_thread_if_few(FEWEST):
                pass

    threads = [threading.Thread(target=often) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert _threads() == unlimited
