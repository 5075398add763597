#!/usr/bin/env python
"""Prune a model: `python prune.py`. The code of the command is in prune.cli.prune."""

from runtime.entry import run_main

if __name__ == "__main__":
    raise SystemExit(run_main("prune.cli.prune"))
