"""Measure models on a Jetson or a graphics card: latency, power, clocks and temperatures. Record and replay such runs."""
