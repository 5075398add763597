"""Convert the checkpoints of other projects to this project's model files."""
