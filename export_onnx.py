#!/usr/bin/env python
"""Export a pruned model to ONNX; the code is in export."""

from runtime.errors import command

if __name__ == "__main__":
    raise SystemExit(command("export.cli"))
