"""Adopt foreign ONNX files with right and wrong inputs, and measure the accuracy and speed of what comes out."""
