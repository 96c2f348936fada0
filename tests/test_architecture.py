"""The drawing of the package: it is current, and its arrows point down."""

from xml.etree import ElementTree as ET

import architecture
import pytest
from architecture import LAYERS, LEAVES

ROWS = [set(row) for row in (*LAYERS, *LEAVES)]


def test_the_drawing_is_current():
    message = "run: python -m tests.architecture"
    assert architecture.DRAWING.read_text(encoding="utf-8") == architecture.drawing(), message


def test_the_layers_hold_every_room_once():
    placed = [room for row in (*LAYERS, *LEAVES) for room in row]
    assert sorted(placed) == sorted(architecture.rooms()), "see LAYERS in tests/architecture.py"


def test_no_arrow_points_up_or_sideways():
    row = {room: number for number, rooms in enumerate(ROWS) for room in rooms}
    arrows = architecture.rooms()
    wrong = [(a, b) for a, others in arrows.items() for b in others if row[a] >= row[b]]
    assert wrong == []


def test_no_file_imports_itself_by_way_of_others():
    assert architecture.circle(architecture.files()) == []


def test_a_circle_is_found():
    assert architecture.circle({1: {2}, 2: {3, 4}, 3: set(), 4: {2}}) == [2, 4, 2]


def test_arrows_that_others_imply_are_left_out():
    arrows = {"a": {"b", "c", "d"}, "b": {"c"}, "c": {"d"}, "d": set()}
    assert architecture.reduced(arrows) == {"a": {"b"}, "b": {"c"}, "c": {"d"}, "d": set()}


@pytest.mark.parametrize("name", sorted(architecture.rooms()))
def test_every_room_is_drawn_with_its_purpose(name):
    words = "".join(ET.fromstring(architecture.drawing()).itertext())
    assert name in words
    assert all(line in words for line in architecture.purpose(name))
