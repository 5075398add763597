"""The command `python -m runtime identify`."""
