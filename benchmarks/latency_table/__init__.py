"""Measure the time of single transformer blocks on a machine, and test how well these times predict those of whole models."""
