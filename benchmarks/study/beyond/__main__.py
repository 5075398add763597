"""Run `python -m benchmarks.study.beyond`: compare narrower MLPs and fewer blocks with AMG at AMG's cost."""

from runtime.entry import run_main

if __name__ == "__main__":
    raise SystemExit(run_main("benchmarks.study.beyond.cli"))
