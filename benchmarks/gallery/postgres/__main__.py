"""Measure a gallery on a server: `python -m benchmarks.gallery.postgres ingest|search|kills|erased`."""

from runtime.entry import run_main

if __name__ == "__main__":
    raise SystemExit(run_main("benchmarks.gallery.postgres.cli"))
