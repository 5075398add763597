"""Keep the classifier rows of one data set's people: `python -m prune.relabel`. The command is prune.cli.relabel."""

from runtime.errors import command

if __name__ == "__main__":
    raise SystemExit(command("prune.cli.relabel"))
