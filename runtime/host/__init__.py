"""Describe this machine (kind of processor, Jetson release) and measure time and memory. Imports no other package of this project."""
