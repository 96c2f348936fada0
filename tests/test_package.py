"""The package as a whole: what importing it costs, what it names, which way its imports point."""

import subprocess
import sys

import sklearn_densconf


def test_importing_the_package_imports_neither_torch_nor_matplotlib():
    code = "import sys, sklearn_densconf; print({'torch', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_dir_lists_the_public_names():
    assert set(sklearn_densconf.__all__) <= set(dir(sklearn_densconf))
