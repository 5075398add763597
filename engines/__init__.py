"""TensorRT and TensorRT-RTX engines, built from exported ONNX files. Nothing is here yet: the next step of the project."""
