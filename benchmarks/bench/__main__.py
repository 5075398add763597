"""Run `python -m benchmarks.bench`, which is the same program as bench.py."""

from runtime.entry import run_main

if __name__ == "__main__":
    raise SystemExit(run_main("benchmarks.bench.cli"))
