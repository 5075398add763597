"""Measure the service: throughput, latency, memory, overload, stopping and slow clients."""
