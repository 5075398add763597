"""Checkpoints of other projects as our model files."""
