"""The runner of mutants: what it changes, and that it tells a noticed change from another."""

import ast
from collections import Counter

import pytest

from tests.trust import mutants as trial
from tests.trust._mutations import Mutant, mutants

TEXT = '''"""What it is."""
__all__ = ["f"]

def f(a: int, b=1.5):
    """Say what it does."""
    total = []
    total.append(a)
    if a < b and b is not None:
        raise ValueError(f"{a} < {b + 1}")
    return g(a, -b) @ total
'''


def test_operators_numbers_conditions_lines_and_arguments_are_changed():
    found = list(mutants("f.py", TEXT))
    kinds = Counter(mutant.change.split(":")[0] for mutant in found)
    assert kinds == {
        "constant": 1,
        "dropped": 1,
        "condition": 1,
        "operator": 2,
        "comparison": 2,
        "arguments": 1,
        "sign": 1,
    }


def test_every_mutant_is_another_program_but_for_texts():
    found = list(mutants("f.py", TEXT))
    assert len({mutant.text for mutant in found}) == len(found)
    for mutant in found:
        assert ast.unparse(ast.parse(TEXT)) != mutant.text
        assert '"""What it is."""' in mutant.text
        assert "f'{a} < {b + 1}'" in mutant.text


@pytest.mark.parametrize(
    ("line", "change"), [(8, "comparison: a < b -> a <= b"), (10, "sign: -b -> +b")]
)
def test_a_mutant_says_where_it_is(line, change):
    assert (line, change) in {(mutant.line, mutant.change) for mutant in mutants("f.py", TEXT)}


def test_killed_explained_and_other_survivors_are_told_apart():
    (file, line, change), why = next(iter(trial.EXPLAINED.items()))
    lines = (trial.ROOT / trial.PACKAGE / file).read_text(encoding="utf-8").splitlines()
    number = [each.strip() for each in lines].index(line) + 1
    drawn = [
        Mutant(file, number, change, "a"),
        Mutant(file, 1, "x", "b"),
        Mutant(file, 1, "y", "c"),
    ]
    killers = dict(zip(map(trial._key, drawn), ["", "", "tests/test_x.py::test_x"], strict=True))
    row = trial._row(drawn, killers)
    assert (row["tried"], row["failed"], row["examples"]) == (3, 1, [f"{file}:1 `x`"])
    assert row["note"].startswith("killed 1, another program of the same results 1: ")
    assert f"({why})" in row["note"]
