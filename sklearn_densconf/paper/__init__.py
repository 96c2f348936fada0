"""The paper, reproduced: arXiv:1707.07013. Run ``python -m sklearn_densconf.paper --help``."""
