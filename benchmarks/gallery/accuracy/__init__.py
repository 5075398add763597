"""How well the calibrations of a gallery keep what they state."""
