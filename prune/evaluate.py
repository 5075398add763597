"""Score a torch model on a data set: `python -m prune.evaluate`. The code of the command is in prune.cli.evaluate."""

from runtime.entry import run_main

if __name__ == "__main__":
    raise SystemExit(run_main("prune.cli.evaluate"))
