"""What is published: the wheel's files, its metadata, and the files that describe the project."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

import architecture
import pytest
import versions
import yaml

import sklearn_densconf

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
BESIDE_THE_CODE = {  # what the wheel holds that is no Python
    "sklearn_densconf/py.typed",
    "sklearn_densconf/datasets/imagenet_wnids.txt",
    "sklearn_densconf/evaluation/_report.html",
}
METADATA = {"METADATA", "WHEEL", "RECORD", "licenses/LICENSE"}
LARGEST = 480_000  # bytes; two thirds are code, nearly a third are docstrings
SCHEMAS = {  # of files that another program reads -> the schema that check-jsonschema ships
    ".github/workflows/ci.yml": "github-workflows",
    ".github/workflows/release.yml": "github-workflows",
    ".github/dependabot.yml": "dependabot",
    "CITATION.cff": "citation-file-format",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this tree, built as pip does but for the environment of its own."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.iterdir()
    return path


def test_the_wheel_holds_the_code_and_nothing_else(wheel):
    code = {f"sklearn_densconf/{p.relative_to(architecture.ROOT)}" for p in architecture.files()}
    about = {f"sklearn_densconf-{sklearn_densconf.__version__}.dist-info/{n}" for n in METADATA}
    with zipfile.ZipFile(wheel) as archive:
        assert set(archive.namelist()) == code | BESIDE_THE_CODE | about


def test_the_wheel_is_small(wheel):
    assert wheel.stat().st_size < LARGEST


def test_the_wheel_says_its_licence_and_what_it_needs(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
        metadata = message_from_bytes(archive.read(name))
    assert metadata["License-Expression"] == "BSD-3-Clause"
    assert metadata.get_all("License-File") == ["LICENSE"]
    assert not [c for c in metadata.get_all("Classifier") if c.startswith("License")]
    extras = set(metadata.get_all("Provides-Extra"))
    assert not extras & set(PROJECT["dependency-groups"])  # what only work on it needs is a group


def test_every_extra_is_explained():
    text = (ROOT / "docs" / "installation.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z-]+)`", text))
    assert set(PROJECT["project"]["optional-dependencies"]) <= named
    assert set(PROJECT["dependency-groups"]) <= named


def test_the_citation_is_of_this_project_and_names_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["title"] == PROJECT["project"]["name"]
    assert citation["license"] == PROJECT["project"]["license"]
    assert citation["references"][0]["url"] == PROJECT["project"]["urls"]["Paper"]


@pytest.mark.parametrize("name", SCHEMAS)
def test_what_other_programs_read_obeys_their_schema(name):
    if not (ROOT / name).exists():
        pytest.skip("the sdist holds no workflows")
    check = ["check_jsonschema", "--builtin-schema", f"vendor.{SCHEMAS[name]}", str(ROOT / name)]
    command = [sys.executable, "-m", *check]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(not (ROOT / ".github").is_dir(), reason="the sdist holds no workflows")
def test_the_workflow_runs_what_runs_here():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    assert {"run": ".ci/run"} in jobs["checks"]["steps"]
    for cell in jobs["versions"]["strategy"]["matrix"]["include"]:
        assert versions.ROWS[cell["row"]] == cell["python"]


def test_each_library_has_one_floor():
    names = [floor.split("==")[0] for floor in versions.floors(PROJECT["project"])]
    assert len(names) == len(set(names))
    assert set(versions.LIBRARIES) <= set(names)


def test_every_python_that_is_promised_is_one_that_was_run():
    promised = [
        found.group(1)
        for line in PROJECT["project"]["classifiers"]
        if (found := re.search(r":: Python :: (3\.\d+)", line))
    ]
    page = (ROOT / "docs" / "versions.md").read_text(encoding="utf-8")
    run = re.findall(r"^\| \S+ \| (3\.\d+)\.", page, re.MULTILINE)
    assert set(promised) <= set(run)


@pytest.mark.parametrize("row", [row for row in versions.ROWS if row.startswith("scikit-learn")])
def test_a_row_of_one_library_is_the_pinned_row_but_for_it(row):
    pinned, changed = versions.constraints("pinned"), versions.constraints(row)
    assert pinned == (ROOT / "constraints.txt").read_text(encoding="utf-8")
    (line,) = set(changed.splitlines()) - set(pinned.splitlines())
    assert line == f"scikit-learn=={row.removeprefix('scikit-learn-')}"


def test_a_python_that_only_fails_hides_none_that_works(tmp_path, monkeypatch):
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setenv("PATH", f"{tmp_path}/shims:{os.environ['PATH']}")
    for folder, status in (("shims", 127), ("pyenv/versions/9.8.7/bin", 0)):
        found = tmp_path / folder / "python9.8"
        found.parent.mkdir(parents=True)
        found.write_text(f"#!/bin/sh\nexit {status}\n")
        found.chmod(0o755)
    assert versions.program("9.8") == str(found)
    assert versions.program("9.7") is None


def test_the_core_of_the_suite_is_there():
    assert all((ROOT / "tests" / f"test_{name}.py").exists() for name in versions.CORE.split())


def test_the_page_of_versions_has_the_floors():
    page = (ROOT / "docs" / "versions.md").read_text(encoding="utf-8")
    (row,) = [line for line in page.splitlines() if line.startswith("| oldest |")]
    seen = dict(zip(versions.LIBRARIES, row.split(" | ")[2:], strict=False))
    for floor in versions.floors(PROJECT["project"]):
        name, version = floor.split("==")
        assert seen.get(name, version).startswith(version), f"run `make versions`: {name}"
