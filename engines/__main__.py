"""Build TensorRT engines: `python -m engines --help`."""

from __future__ import annotations

import sys

from engines.command import main
from runtime.errors import guarded

if __name__ == "__main__":
    sys.exit(guarded(main))
