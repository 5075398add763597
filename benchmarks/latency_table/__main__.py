"""`python -m benchmarks.latency_table MODEL.onnx --out table.json`: measure the time of transformer blocks on this machine."""

from runtime.entry import run_main

if __name__ == "__main__":
    raise SystemExit(run_main("benchmarks.latency_table.cli"))
