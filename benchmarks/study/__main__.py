"""Run `python -m benchmarks.study`: compare pruning methods at equal cost."""

from runtime.entry import run_main

if __name__ == "__main__":
    raise SystemExit(run_main("benchmarks.study.cli"))
