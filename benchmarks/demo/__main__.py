"""Run `make demo`: the whole pipeline on rendered people, with the commands that a user would type."""

from runtime.entry import run_main

if __name__ == "__main__":
    raise SystemExit(run_main("benchmarks.demo.cli"))
