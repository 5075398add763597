"""Run `python -m benchmarks.study.beyond`: compare AMG with pruning MLP neurons or whole blocks at the same cost."""

from runtime.entry import run_main

if __name__ == "__main__":
    raise SystemExit(run_main("benchmarks.study.beyond.cli"))
