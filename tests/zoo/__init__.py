"""A zoo of networks as their libraries make them, and checks of the features of each.

``python -m tests.zoo`` runs all checks and writes ``docs/networks.md``. It is no part of the tests:
it takes minutes, and libraries that the package itself does not need.
"""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before transformers: nothing is asked for over a net
