"""TensorRT and TensorRT-RTX: load an engine, run it, and say whether it belongs on this machine."""
