"""Write what other programs need to run an exported file: Triton Inference Server and DeepStream."""
