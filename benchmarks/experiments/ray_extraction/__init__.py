"""`python -m benchmarks.experiments.ray_extraction`: what extraction on Ray costs beside worker processes, and what it survives."""
