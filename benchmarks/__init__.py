"""Measurements: bench.py's timer, the demo, made-up people to run it on. Needs no torch to be imported."""
