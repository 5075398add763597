"""`python -m benchmarks.experiments.adoption`: adopt foreign ONNX files with right and wrong inputs, and measure what comes out."""

from runtime.entry import run_main

if __name__ == "__main__":
    raise SystemExit(run_main("benchmarks.experiments.adoption.cli"))
