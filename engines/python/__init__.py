"""Build engines with the Python bindings of TensorRT and TensorRT-RTX."""
