"""Score folders of pictures with a model from a file, and report on models from files."""
