#!/usr/bin/env python
"""Time exported models side by side; the code is in benchmarks.bench."""

from runtime.entry import run_main

if __name__ == "__main__":
    raise SystemExit(run_main("benchmarks.bench.cli"))
