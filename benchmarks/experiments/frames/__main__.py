"""`python -m benchmarks.experiments.frames MODEL ...`: compare `embed_boxes` and `embed_frames` with the model alone."""

from runtime.entry import run_main

if __name__ == "__main__":
    raise SystemExit(run_main("benchmarks.experiments.frames.cli"))
