"""A strict fake of the part of the module `tensorrt` that builds engines. A plan is JSON with the settings of the build.

$FAKE_TENSORRT is the version of TensorRT to imitate. What this version lacks is missing here too, and what it refuses is refused.
$FAKE_FAULT names a fault that occurs, and $FAKE_PID a file to which the process id is written.
"""

import enum
import json
import os
import signal
import sys
import time
from types import SimpleNamespace

import onnx

# The flags that each major version of TensorRT has.
FLAGS = {
    8: ["FP16", "INT8", "VERSION_COMPATIBLE"],
    10: ["FP16", "INT8", "VERSION_COMPATIBLE"],
    11: ["VERSION_COMPATIBLE"],
}
NETWORK_FLAGS = {8: ["EXPLICIT_BATCH"], 10: ["EXPLICIT_BATCH", "STRONGLY_TYPED"], 11: ["STRONGLY_TYPED"]}
CACHE = b"fake cache "


class ILogger:
    def __init__(self):
        self.made = True


def library():
    """Return the fake module `tensorrt`."""
    version, fault = os.environ["FAKE_TENSORRT"], os.environ.get("FAKE_FAULT", "")
    major = int(version.split(".")[0])
    if path := os.environ.get("FAKE_PID"):
        with open(path, "w") as file:
            file.write(str(os.getpid()))
    if fault == "import":
        raise ImportError(f"libnvinfer.so.{major}: cannot open shared object file: No such file or directory")
    if fault == "import crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    print("libraries print to stdout what they like")
    trt = SimpleNamespace(__version__=version, ILogger=ILogger, fault=fault, major=major)
    trt.NetworkDefinitionCreationFlag = enum.IntEnum("Flag", NETWORK_FLAGS[major], start=0)
    trt.BuilderFlag = enum.IntEnum("BuilderFlag", FLAGS[major], start=0)
    trt.MemoryPoolType = enum.IntEnum("MemoryPoolType", ["WORKSPACE"], start=0)
    trt.ProfilingVerbosity = enum.IntEnum("ProfilingVerbosity", ["NONE", "DETAILED"], start=0)
    trt.Builder = lambda logger: Builder(trt, logger)
    trt.OnnxParser = lambda network, logger: Parser(trt, network, logger)
    return trt


def says(logger, severity, text):
    assert logger.made, "a logger without the base class's __init__"
    logger.log(SimpleNamespace(name=severity), text)


class Builder:
    def __init__(self, trt, logger):
        self.trt, self.logger = trt, logger
        if trt.fault == "no gpu":
            says(logger, "ERROR", "CUDA initialization failure with error: 35")
            raise TypeError("pybind11::init(): factory function returned nullptr")

    def create_network(self, flags=0):
        names = [flag.name for flag in self.trt.NetworkDefinitionCreationFlag if flags >> flag & 1]
        if flags >> len(self.trt.NetworkDefinitionCreationFlag):
            raise ValueError("a network flag that this version does not have")
        if self.trt.major == 8 and names != ["EXPLICIT_BATCH"]:
            raise ValueError("implicit batch: the ONNX parser does not take it")
        return Network(names)

    def create_builder_config(self):
        return Config(self.trt)

    def create_optimization_profile(self):
        return Profile()

    def build_serialized_network(self, network, config):
        says(self.logger, "WARNING", "Detected layernorm nodes in FP16: Norm_1")
        says(self.logger, "WARNING", "Detected layernorm nodes in FP16: Norm_1")
        if self.trt.fault == "no memory":
            says(
                self.logger,
                "ERROR",
                "[resizingAllocator.cpp::alloc::1] Error Code 1: Cuda Runtime (out of memory)",
            )
            return None
        if self.trt.fault == "no plan":
            says(
                self.logger,
                "ERROR",
                "[graph.cpp::build::12] Error Code 10: Could not find any implementation for node X.",
            )
            return None
        if self.trt.fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.trt.fault == "hang":
            time.sleep(600)
        if self.trt.fault == "raise":
            raise RuntimeError("something odd")
        if self.trt.fault == "exit":
            sys.exit(3)
        typed = "STRONGLY_TYPED" in network.flags or self.trt.major >= 11
        if typed and {"FP16", "INT8"} & set(config.flags):
            says(self.logger, "ERROR", "precision flags on a strongly typed network")
            return None
        for tensor in network.inputs:
            if -1 in tensor.shape and not all(
                tensor.name in profile.shapes for profile in config.profiles or [Profile()]
            ):
                says(
                    self.logger,
                    "ERROR",
                    f"{tensor.name}: dynamic, but no optimization profile has been defined.",
                )
                return None
        told = {key: value for key, value in vars(config).items() if not key.startswith("_")}
        told["profiles"] = [profile.shapes for profile in config.profiles]
        told["network"] = network.flags
        return b"fmha fmha " + json.dumps(told).encode()


class Network:
    def __init__(self, flags):
        self.flags, self.inputs, self.outputs = flags, [], []

    num_inputs = property(lambda self: len(self.inputs))
    num_outputs = property(lambda self: len(self.outputs))

    def get_input(self, index):
        return self.inputs[index]

    def get_output(self, index):
        return self.outputs[index]


class Config:
    def __init__(self, trt):
        self._trt, self.flags, self.profiles, self.workspace, self.cache = trt, [], [], None, None

    def __setattr__(self, name, value):
        known = {
            "builder_optimization_level",
            "profiling_verbosity",
            "flags",
            "profiles",
            "workspace",
            "cache",
        }
        if name not in known and not name.startswith("_"):
            raise AttributeError(f"a builder's config of TensorRT {self._trt.__version__} has no {name}")
        super().__setattr__(name, value)

    def set_memory_pool_limit(self, pool, size):
        assert pool is self._trt.MemoryPoolType.WORKSPACE
        self.workspace = size

    def set_flag(self, flag):
        assert flag in self._trt.BuilderFlag
        self.flags.append(flag.name)

    def create_timing_cache(self, data):
        return SimpleNamespace(data=data) if not data or data.startswith(CACHE) else None

    def set_timing_cache(self, cache, ignore_mismatch):
        assert ignore_mismatch is False
        self.cache = cache.data.decode()
        return True

    def get_timing_cache(self):
        return SimpleNamespace(serialize=lambda: CACHE + self.cache.encode() + b"+")

    def add_optimization_profile(self, profile):
        self.profiles.append(profile)
        return len(self.profiles) - 1


class Profile:
    def __init__(self):
        self.shapes = {}

    def set_shape(self, name, *shapes):
        assert len(shapes) == 3 and shapes[0] <= shapes[1] <= shapes[2]
        self.shapes[name] = [list(shape) for shape in shapes]


class Parser:
    def __init__(self, trt, network, logger):
        self.trt, self.network, self.logger = trt, network, logger
        self.num_errors = 0

    def parse_from_file(self, path):
        graph = onnx.load(path).graph
        for number, node in enumerate(graph.node):
            says(self.logger, "VERBOSE", f"Parsing node: {node.name or number} [{node.op_type}]")
            if self.trt.fault == f"crash at {node.op_type}":
                os.kill(os.getpid(), signal.SIGSEGV)
            if self.trt.fault == f"refuse {node.op_type}":
                self.num_errors = 5
                says(self.logger, "ERROR", "ModelImporter.cpp:771: While parsing node number 1")
                return False
        for tensor in graph.input:
            dims = tensor.type.tensor_type.shape.dim
            shape = tuple(-1 if dim.dim_param else dim.dim_value for dim in dims)
            self.network.inputs.append(SimpleNamespace(name=tensor.name, shape=shape))
        self.network.outputs = [SimpleNamespace(name=tensor.name) for tensor in graph.output]
        return True

    def get_error(self, index):
        error = SimpleNamespace(desc=lambda: f"complaint {index}", node=lambda: index)
        if self.trt.major > 8:
            error.node_name, error.node_operator = (lambda: f"/blocks.{index}/op"), (lambda: "Foo")
        return error
