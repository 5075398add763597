"""Build TensorRT engines: `python -m engines --help`."""

from __future__ import annotations

import sys

from runtime.entry import run_main

if __name__ == "__main__":
    sys.exit(run_main("engines.cli"))
