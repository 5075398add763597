"""Score a torch model on a data set: `python -m prune.evaluate`. The command is prune.cli.evaluate."""

from runtime.errors import command

if __name__ == "__main__":
    raise SystemExit(command("prune.cli.evaluate"))
