#!/usr/bin/env python
"""Time exported models side by side; the code is in benchmarks.bench."""

from runtime.errors import command

if __name__ == "__main__":
    raise SystemExit(command("benchmarks.bench.cli"))
