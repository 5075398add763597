"""Build a graph with the real TensorRT-RTX, without this project's builder, to check what an export claims."""

import importlib.util
import subprocess
import sys

import onnx
import pytest

BUILD = """
import sys
import tensorrt_rtx as trt
logger = trt.Logger(trt.Logger.ERROR)
builder = trt.Builder(logger)
network = builder.create_network()
parser = trt.OnnxParser(network, logger)
if not parser.parse_from_file(sys.argv[1]):
    sys.exit("; ".join(parser.get_error(index).desc() for index in range(parser.num_errors)))
config = builder.create_builder_config()
config.num_compute_capabilities = 1
config.set_compute_capability(trt.ComputeCapability.SM86, 0)
engine = builder.build_serialized_network(network, config)
assert engine is not None
print(bytes(engine).count(b"fmha"), engine.nbytes)
"""

needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None,
    reason="tensorrt_rtx is not installed: pip install tensorrt-rtx-cu13==1.7.1.116",
)


def build(graph, path):
    """Build an engine of `graph` in a child process, and return (number of fused-attention strings, size in bytes).

    A damaged graph can crash the parser, which would end this process.
    """
    fixed = onnx.ModelProto()
    fixed.CopyFrom(graph)
    for value in [*fixed.graph.input, *fixed.graph.output]:
        # A dynamic batch would need an optimisation profile.
        value.type.tensor_type.shape.dim[0].dim_value = 2
    onnx.save(fixed, path)
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(path)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return tuple(int(number) for number in done.stdout.split()[-2:])
