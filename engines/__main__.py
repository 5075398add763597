"""Build TensorRT engines: `python -m engines --help`."""

from __future__ import annotations

import sys

from runtime.errors import command

if __name__ == "__main__":
    sys.exit(command("engines.cli"))
