"""Folders of pictures, read as lists of paths, and the original files of MNIST."""

from sklearn_densconf.datasets._image_folder import load_image_folder
from sklearn_densconf.datasets._imagenet import load_imagenet
from sklearn_densconf.datasets._mnist import load_mnist, read_idx

__all__ = ["load_image_folder", "load_imagenet", "load_mnist", "read_idx"]
