#!/usr/bin/env python
"""Export a model to ONNX: `python export_onnx.py`. The code is in `export`."""

from runtime.entry import run_main

if __name__ == "__main__":
    raise SystemExit(run_main("export.cli"))
