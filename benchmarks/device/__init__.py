"""Measure models on a Jetson or a graphics card: latency, energy, clocks and temperatures. Record and replay Jetson runs."""
