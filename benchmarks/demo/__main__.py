"""`make demo`: the whole road on rendered people, with the commands a user would type. Knows nothing of models."""

from runtime.errors import command

if __name__ == "__main__":
    raise SystemExit(command("benchmarks.demo.cli"))
