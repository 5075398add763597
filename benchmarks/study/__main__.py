"""Does AMG pruning work? The same teacher, fine-tuning and cost, other criteria: `python -m benchmarks.study`."""

from runtime.errors import command

if __name__ == "__main__":
    raise SystemExit(command("benchmarks.study.cli"))
