"""The form of the scripts in findings/. What they show is run by hand: they install packages."""

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "findings").glob("*.sh"))
TRAPS = ROOT / "docs" / "traps.md"


def _installed(text):
    """The packages that a script installs, with or without a version."""
    joined = text.replace("\\\n", " ")
    arguments = re.findall(r'bin/pip" install (.*)', joined)
    return [word.strip('"') for line in arguments for word in line.split() if word[0] != "-"]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_finding_says_what_was_seen_and_cleans_up(path):
    text = path.read_text(encoding="utf-8")
    header, code = text.split("set -euo pipefail\n")
    assert os.access(path, os.X_OK)
    for part in (
        "#!/usr/bin/env bash\n",
        "# Versions: ",
        "# Behaviour: ",
        "# Output seen",
        "# Cure: ",
    ):
        assert part in header
    assert "folder=$(mktemp -d)\ntrap 'rm -rf \"$folder\"' EXIT\n" in code
    assert "assert " in code
    assert "sklearn_densconf" not in code
    assert len(text.splitlines()) <= 60


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_finding_installs_the_versions_that_its_header_names(path):
    text = path.read_text(encoding="utf-8")
    for requirement in _installed(text):
        name, version = requirement.split("==")
        assert version in text.split("# Behaviour: ")[0] or name in ("numpy", "scipy")


@pytest.mark.skipif(not (ROOT / "findings").is_dir(), reason="the sdist holds no findings")
def test_the_table_of_traps_and_the_findings_name_one_another():
    named = re.findall(r"[a-z0-9-]+\.sh", TRAPS.read_text(encoding="utf-8"))
    assert sorted(named) == [path.name for path in SCRIPTS]
    assert len(named) >= 8
