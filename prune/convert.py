"""Import a TransReID or AMG checkpoint: `python -m prune.convert`. The command is prune.cli.convert."""

from runtime.errors import command

if __name__ == "__main__":
    raise SystemExit(command("prune.cli.convert"))
