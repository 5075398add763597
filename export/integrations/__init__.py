"""Write what other products need to run an exported file: Triton Inference Server and DeepStream."""
