"""`python bench.py`: latency, throughput, memory and accuracy of models, side by side."""
