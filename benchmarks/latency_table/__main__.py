"""`python -m benchmarks.latency_table MODEL.onnx --out table.json`: what a block of this model costs on this machine."""

from runtime.entry import run_main

if __name__ == "__main__":
    raise SystemExit(run_main("benchmarks.latency_table.cli"))
