"""TensorRT engines from exported ONNX files, built where they will run."""
