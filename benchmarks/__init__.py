"""Benchmarks of models, the demo, and the generator of the rendered people that it uses. The package imports without torch."""
