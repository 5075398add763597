"""Quantise graphs to INT8 with Q/DQ nodes: calibration images, ranges, and the cost in accuracy."""
