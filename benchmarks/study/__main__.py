"""Run `python -m benchmarks.study`: compare pruning methods at equal cost."""

from runtime.errors import command

if __name__ == "__main__":
    raise SystemExit(command("benchmarks.study.cli"))
