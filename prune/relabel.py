"""Keep the classifier rows of one data set's people: `python -m prune.relabel`. The code of the command is in prune.cli.relabel."""

from runtime.entry import run_main

if __name__ == "__main__":
    raise SystemExit(run_main("prune.cli.relabel"))
