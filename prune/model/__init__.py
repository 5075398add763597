"""The network: its architecture as data, TransReID in torch, and functions that remove heads, tokens, MLP neurons and blocks."""
