"""Measure identities across cameras: `python -m benchmarks.identities prepare|measure`."""

from runtime.entry import run_main

if __name__ == "__main__":
    raise SystemExit(run_main("benchmarks.identities.cli"))
