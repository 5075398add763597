"""Import a TransReID or AMG checkpoint: `python -m prune.convert`. The code of the command is in prune.cli.convert."""

from runtime.entry import run_main

if __name__ == "__main__":
    raise SystemExit(run_main("prune.cli.convert"))
