"""How many rooms a reader must enter to follow one prediction."""

import pytest
import stays

MOST = {"12 paths": 90, "an array": 60}  # 123 and 76 before the inputs had one protocol


@pytest.mark.parametrize("name", MOST)
def test_a_prediction_goes_from_room_to_room_no_more_often(name, tmp_path):
    found = stays.stays(stays.predictions(tmp_path)[name])
    assert len({file for file, _ in found}) > 10  # it was traced
    assert len(found) <= MOST[name]


def test_a_stay_is_a_run_of_calls_into_one_file(tmp_path):
    prediction = stays.predictions(tmp_path)["12 paths"]
    traced = stays.calls(prediction)
    assert len(traced) == 2  # files are read in another thread
    expected = sum(1 + sum(a[0] != b[0] for a, b in stays.pairwise(each)) for each in traced)
    assert len(stays.stays(prediction)) == expected
