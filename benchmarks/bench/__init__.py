"""The program `bench.py`, which compares the latency, throughput, memory and accuracy of models."""
