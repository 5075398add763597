"""Run `python -m benchmarks.bench.merge`, which shows runs of bench.py on several devices in one table and one picture."""

from runtime.entry import run_main

if __name__ == "__main__":
    raise SystemExit(run_main("benchmarks.bench.merge.cli"))
