"""Train a TransReID model: `python -m prune.train`. The code of the command is in prune.cli.train."""

from runtime.entry import run_main

if __name__ == "__main__":
    raise SystemExit(run_main("prune.cli.train"))
