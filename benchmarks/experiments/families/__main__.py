"""`python -m benchmarks.experiments.families`: train, prune, export, time and build one model of every family of checkpoints."""

from runtime.entry import run_main

if __name__ == "__main__":
    raise SystemExit(run_main("benchmarks.experiments.families.cli"))
