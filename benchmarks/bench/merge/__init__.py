"""Merge runs of bench.py on several devices: `python -m benchmarks.bench.merge`."""
