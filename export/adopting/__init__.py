"""Adopt an ONNX file of another project: fold its input specification in front, and write it as a file of this project."""
