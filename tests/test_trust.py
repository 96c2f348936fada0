"""The short form of `make trust`: a few hundred tries of what python -m tests.trust tries."""

import pytest

pytest.importorskip("PIL")

from tests.trust import __main__ as trust
from tests.trust import faults, files


@pytest.mark.parametrize("kind", files.TRIALS)
def test_no_damaged_file_is_taken_for_another(kind):
    trial = files.TRIALS[kind]()
    outcomes = [trial.attempt(number) for number in range(60)]
    assert [each for each in outcomes if each[0] not in files.GOOD] == []


def test_the_trial_of_files_finds_what_is_wrong():
    trial = files.TRIALS["files of io.save"]()
    trial.expected = trial.expected + 1
    trial.features = trial.features + 1
    trial.damage = lambda content, rng: content
    assert {trial.attempt(number)[0] for number in range(4)} == {"wrong"}
    trial.read = lambda path, told: {}["no key"]
    assert trial.attempt(0)[0] == "undocumented"


def test_no_fault_changes_the_network_or_loses_what_was_finished():
    (row,) = faults.run(28)
    assert row["failed"] == 0, row


def test_the_trial_of_faults_finds_what_is_wrong(monkeypatch):
    monkeypatch.setattr(faults.Pictures, "check_kept", lambda *_: False)
    (row,) = faults.run(1)
    assert row["failed"] == 1


def test_the_page_is_what_the_rows_make():
    assert (trust.DOCS / "reliability.md").read_text(encoding="utf-8") == trust.page()


def test_nothing_grows_from_cycle_to_cycle(capsys):
    assert trust.main(["--short", "cycles"]) == 0
    assert "cycles: 20 tried, 0 failed; resident memory" in capsys.readouterr().out


def test_every_trial_gives_rows_of_one_form():
    found = {"tried": 5, "wrong": 1, "worst": 0.25, "examples": [3]}
    assert trust.as_row("threads", found) == {
        "what": trust.WORDS["threads"],
        "tried": 5,
        "failed": 1,
        "note": "wrong 1, worst 0.25",
    }
