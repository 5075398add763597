#!/usr/bin/env python
"""Compare the latency, throughput, memory and accuracy of models. The code is in `benchmarks.bench`."""

from runtime.entry import run_main

if __name__ == "__main__":
    raise SystemExit(run_main("benchmarks.bench.cli"))
