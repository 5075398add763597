"""Show runs of bench.py on several devices in one table and one picture: `python -m benchmarks.bench.merge`."""
