#!/usr/bin/env python
"""Prune a model: `python prune.py`. The command is prune.cli.prune."""

from runtime.entry import run_main

if __name__ == "__main__":
    raise SystemExit(run_main("prune.cli.prune"))
