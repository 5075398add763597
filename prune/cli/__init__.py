"""The commands that prune, train, evaluate and relabel."""
