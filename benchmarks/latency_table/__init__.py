"""What a block of a model costs on a machine, and how well that predicts whole models."""
