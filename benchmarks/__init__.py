"""Latency, throughput, memory and accuracy of artifacts, the demo, and the rendered people. No torch at import."""
