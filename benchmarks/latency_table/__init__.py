"""Measure the time of single blocks on a machine, and test how well these times predict whole models."""
