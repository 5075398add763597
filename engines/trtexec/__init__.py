"""trtexec, TensorRT's own command-line tool: building its command lines, running it and parsing its output."""
