"""Benchmarks of models, the demo, and the generator of rendered people that the demo uses. The package imports without torch."""
