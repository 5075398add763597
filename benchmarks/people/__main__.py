"""Render a data set of synthetic pedestrians: `python -m benchmarks.people --out DIR` (needs the extra `render`)."""

from runtime.entry import run_main

if __name__ == "__main__":
    raise SystemExit(run_main("benchmarks.people.cli"))
