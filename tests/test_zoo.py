"""The zoo's checks: an honest network passes all, and every lie is found."""

import re

import joblib
import pytest

from tests.zoo._cell import CHECKS, Cell
from tests.zoo._checks import examined, found_again
from tests.zoo._liars import Blind, Drifting, Homesick, Honest, Meddling, Unique, entry
from tests.zoo._page import page

PLACES = {"output", "penultimate", "inside"}


def _checked(given, folder):
    """Make all checks, the second half of them in another process."""
    cells = examined(given, folder)
    task = joblib.delayed(found_again)(given, folder)
    (again,) = joblib.Parallel(n_jobs=2)([task])
    for place, results in again.items():
        cells[place].add(results)
    return cells


def test_an_honest_network_passes_all_checks(tmp_path):
    cells = _checked(entry(Honest), tmp_path)
    assert set(cells) == PLACES
    assert {place: cell.faults for place, cell in cells.items()} == {place: {} for place in PLACES}
    assert all(cell.passes for cell in cells.values())


LIES = [
    (Drifting, "features", r"wrong by [\d.e+]+ of the largest"),
    (Meddling, "untouched", "changed: weights and buffers"),
    (Homesick, "saved", "wrong by"),
    (Homesick, "workers", "wrong by"),
    (Unique, "memory", "the network ran again"),
]


@pytest.mark.filterwarnings("ignore:the features of a sample depend")
@pytest.mark.parametrize(("network", "check", "fault"), LIES)
def test_a_lie_is_found_by_its_check(network, check, fault, tmp_path):
    output = _checked(entry(network), tmp_path)["output"]
    assert re.search(fault, output.results[check])
    assert not output.passes


def test_a_refusal_that_does_not_come_is_a_fault(tmp_path):
    output = _checked(entry(Honest, refusal="never said"), tmp_path)["output"]
    assert output.faults == {"refusal": "no refusal with 'never said'"}


def test_networks_that_do_not_tell_samples_apart_are_no_proof(tmp_path):
    output = _checked(entry(Blind), tmp_path)["output"]
    assert re.search("the zoo's samples differ by 0 only", output.faults["features"])


def test_the_page_tells_what_passes_is_refused_and_fails():
    passed = Cell(results=dict.fromkeys(CHECKS, ""))
    refused = Cell("ValueError: which?", {"layer": "body"}, dict.fromkeys(CHECKS, ""))
    failed = Cell(results={"features": "wrong by 1", "untouched": ""})
    found = dict(zip(sorted(PLACES), (passed, refused, failed), strict=True))
    text = page({"torch alone": [("MLP", "0", found)]}, [["## More"]])
    assert "1 networks, 3 places, 2 of which pass all of 6 checks" in text
    assert "| MLP | refused (1); ok with `layer='body'` | **fails**: features | ok | `0` |" in text
    assert "1. `ValueError: which?`" in text
    assert "- `wrong by 1`: torch alone MLP (features: penultimate)" in text
    assert "| memory | 1 of 1 | 0 of 1 | 1 of 1 |" in text
