"""Files for other products: Triton Inference Server and DeepStream."""
