"""Convert FP32 graphs to typed FP16 graphs, and find what FP16 cannot hold."""
