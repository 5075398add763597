"""INT8 by quantize and dequantize nodes, calibrated and measured."""
