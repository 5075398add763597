"""Render a multi-camera sequence of synthetic people: `python -m benchmarks.people.sequence --out SEQ`."""

from runtime.entry import run_main

if __name__ == "__main__":
    raise SystemExit(run_main("benchmarks.people.sequence.cli"))
