"""The recipe for Ray runs, where Ray is installed; it takes 250 MB, so no other test needs it."""

import subprocess
import sys
from pathlib import Path

import pytest

RECIPE = Path(__file__).parents[1] / "docs" / "examples" / "ray_recipe.py"


@pytest.mark.slow
def test_both_ways_to_fit_on_ray_give_the_same_means(tmp_path):
    pytest.importorskip("ray", reason="the recipe needs Ray: pip install ray")
    command = [sys.executable, str(RECIPE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[-1]) < 1e-5
