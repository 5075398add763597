"""Render a data set of synthetic pedestrians: `python -m benchmarks.people --out DIR` (needs the extra `render`)."""

from runtime.errors import command

if __name__ == "__main__":
    raise SystemExit(command("benchmarks.people.cli"))
