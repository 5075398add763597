"""Run `make demo`: the whole pipeline on rendered people, with the commands that a user would type."""

from runtime.errors import command

if __name__ == "__main__":
    raise SystemExit(command("benchmarks.demo.cli"))
