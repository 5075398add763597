"""Search the features of a gallery, exactly or with an index. Writes no row."""
