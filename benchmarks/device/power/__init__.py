"""Measure the power of a Jetson or a graphics card with its sensors, and compute the energy per image in a window of time."""
