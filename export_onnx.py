#!/usr/bin/env python
"""Export a pruned model to ONNX; the code is in export."""

from runtime.entry import run_main

if __name__ == "__main__":
    raise SystemExit(run_main("export.cli"))
