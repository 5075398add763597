"""TensorRT's own command-line tool: its command lines, its output, its runs."""
