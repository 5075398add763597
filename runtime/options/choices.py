"""The permitted values of options that select one of several alternatives. Loads no library, so that parsers are fast."""

from runtime.options.backends import ONNX_BACKENDS

DEVICES = ("cpu", "cuda")

# The backends that run an ONNX file on a CPU. The first one is the default.
BACKENDS = tuple(ONNX_BACKENDS)
# The value that means the backend that `python -m runtime choose` measured as the fastest on this machine.
AUTO = "auto"

# The default number of seconds for which a command times each model or backend; it is trtexec's default.
SECONDS = 3.0

# How many times in succession a lost stream is opened again by default.
REOPEN = 10

# The precisions of a file; `runtime.gate.LIMITS` has the limits of the gate for each.
PRECISIONS = ("fp32", "fp16", "int8")

LATENCY, THROUGHPUT = "latency", "throughput"
PRESETS = (LATENCY, THROUGHPUT)

# What an evaluation does with the gallery images that show the query's person and come from the query's camera.
REMOVE, KEEP = "remove", "keep"
SAME_CAMERA = (REMOVE, KEEP)
