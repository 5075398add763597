"""Measurements on a Jetson or a graphics card: power, clocks, temperatures, recordings."""
