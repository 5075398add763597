#!/usr/bin/env python
"""Export a pruned model to ONNX; the code is in export.command."""

from export.command import main
from runtime.errors import guarded

if __name__ == "__main__":
    raise SystemExit(guarded(main))
