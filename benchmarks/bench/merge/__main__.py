"""`python -m benchmarks.bench.merge RUN.json ...`: runs of bench.py on several devices in one table and one picture."""

from runtime.errors import command

if __name__ == "__main__":
    raise SystemExit(command("benchmarks.bench.merge.cli"))
