"""TensorRT engines from exported ONNX files: the next step of the project. Nothing here yet."""
