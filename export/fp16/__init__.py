"""Typed FP16 graphs."""
