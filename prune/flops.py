"""Count multiply-adds and parameters: `python -m prune.flops`. The code of the command is in prune.cli.flops."""

from runtime.entry import run_main

if __name__ == "__main__":
    raise SystemExit(run_main("prune.cli.flops"))
