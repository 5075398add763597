"""TensorRT and TensorRT-RTX: check that an engine was built for this machine, load it, and run it."""
