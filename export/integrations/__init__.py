"""Write what other programs need to run an exported file: Triton, DeepStream, Ultralytics and BoxMOT."""
