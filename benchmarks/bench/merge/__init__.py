"""`python -m benchmarks.bench.merge`: runs of bench.py on several devices side by side."""
