"""From a pruned torch model to a self-contained, static, gated ONNX file."""
