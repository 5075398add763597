"""Fit the path from a hybrid model's stem to its descriptor: `python -m prune.fit_stem`. The command is prune.cli.fit_stem."""

from runtime.entry import run_main

if __name__ == "__main__":
    raise SystemExit(run_main("prune.cli.fit_stem"))
