"""Build a hybrid model without training: `python -m prune.fit_stem`. The code of the command is in prune.cli.fit_stem."""

from runtime.entry import run_main

if __name__ == "__main__":
    raise SystemExit(run_main("prune.cli.fit_stem"))
