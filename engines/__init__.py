"""Build TensorRT engines from exported ONNX files, on the machine that will run them."""
