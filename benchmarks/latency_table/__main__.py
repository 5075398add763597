"""`python -m benchmarks.latency_table MODEL.onnx --out table.json`: what a block of this model costs on this machine."""

from runtime.errors import command

if __name__ == "__main__":
    raise SystemExit(command("benchmarks.latency_table.cli"))
