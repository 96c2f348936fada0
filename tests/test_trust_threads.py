"""Threads that share a network and classifiers: ``python -m tests.trust threads`` makes more."""

from tests.trust import threads


def test_calls_in_twelve_threads_equal_the_same_calls_made_alone():
    row = threads.run(120)
    assert row["examples"] == []
    assert row["tried"] == 120


def test_a_wrong_result_and_an_error_are_counted(monkeypatch):
    state = iter(range(10**6))

    def never_twice():
        return next(state)

    def broken():
        if next(state) > 1:
            raise OSError
        return 0

    calls = [("counted", never_twice), ("broken", broken)]
    monkeypatch.setattr(threads, "_calls", lambda _rng: calls)
    row = threads.run(24)
    assert row["tried"] == row["wrong"] + row["failed"] == 24
    assert {name for name, _ in row["examples"]} == {"counted", "broken"}
