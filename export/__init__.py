"""Export a torch model to one self-contained, static ONNX file that a gate has checked."""
