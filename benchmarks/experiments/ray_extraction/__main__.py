"""`python -m benchmarks.experiments.ray_extraction MODEL IMAGES`: compare extraction on Ray with worker processes."""

from runtime.entry import run_main

if __name__ == "__main__":
    raise SystemExit(run_main("benchmarks.experiments.ray_extraction.cli"))
