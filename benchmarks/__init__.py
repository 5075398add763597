"""Benchmarks of re-ID models, the demo (`make demo`), and the generator of its rendered people. Importing it needs no torch."""
