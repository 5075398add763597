"""Use trtexec, TensorRT's own command-line tool: make its command lines, run it, and parse its output."""
