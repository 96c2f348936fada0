"""Score folders of pictures with a model from a file, in shards, into one table."""
