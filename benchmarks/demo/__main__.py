"""Run `python -m benchmarks.demo`, which is what `make demo` runs."""

from runtime.entry import run_main

if __name__ == "__main__":
    raise SystemExit(run_main("benchmarks.demo.cli"))
