"""What pays beyond AMG? `python -m benchmarks.study.beyond`: narrower MLPs and fewer blocks at AMG's cost, the same fine-tuning."""

from runtime.errors import command

if __name__ == "__main__":
    raise SystemExit(command("benchmarks.study.beyond.cli"))
