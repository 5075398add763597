"""Measure the gallery: `python -m benchmarks.gallery kills|faults|store|search|resume`."""

from runtime.entry import run_main

if __name__ == "__main__":
    raise SystemExit(run_main("benchmarks.gallery.cli"))
