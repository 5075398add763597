"""The commands `python -m runtime calibrate ...`."""
