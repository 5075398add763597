"""Train a TransReID model: `python -m prune.train`. The command is prune.cli.train."""

from runtime.errors import command

if __name__ == "__main__":
    raise SystemExit(command("prune.cli.train"))
