#!/usr/bin/env python
"""Time exported models side by side; the code is in benchmarks.bench."""

from benchmarks.bench import main
from runtime.errors import guarded

if __name__ == "__main__":
    raise SystemExit(guarded(main))
