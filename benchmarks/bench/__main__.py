"""`python bench.py MODEL [MODEL ...]`: latency, throughput, size, memory and mAP of models, side by side."""

from runtime.errors import command

if __name__ == "__main__":
    raise SystemExit(command("benchmarks.bench.cli"))
