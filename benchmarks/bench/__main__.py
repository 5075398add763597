"""`python bench.py MODEL [MODEL ...]`: latency, throughput, size, memory and mAP of models, side by side."""

from runtime.entry import run_main

if __name__ == "__main__":
    raise SystemExit(run_main("benchmarks.bench.cli"))
