"""This machine: its processor, its Jetson release, and the time and memory that things take on it. Imports nothing of ours."""
