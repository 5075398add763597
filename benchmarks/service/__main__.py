"""Measure the service: `python -m benchmarks.service [search soak overload stop trickle] --model M`."""

from runtime.entry import run_main

if __name__ == "__main__":
    raise SystemExit(run_main("benchmarks.service.cli"))
