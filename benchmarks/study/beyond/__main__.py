"""Run `python -m benchmarks.study.beyond`: compare narrower MLPs and fewer blocks with AMG at AMG's cost."""

from runtime.errors import command

if __name__ == "__main__":
    raise SystemExit(command("benchmarks.study.beyond.cli"))
