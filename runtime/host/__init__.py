"""This machine: its kind of processor, its Jetson release, and the time and memory that a call takes. Imports nothing of ours."""
