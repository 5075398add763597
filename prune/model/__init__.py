"""The network: architecture as data, TransReID in torch, and surgery on it."""
