"""Folders of pictures and the original files of MNIST."""
