"""The commands of `python -m runtime`, one file each.

A command's file adds its arguments, turns the parsed arguments into a frozen options object, and runs it. Its parser loads
neither numpy nor Pillow: what a command needs is imported when the command runs.
"""
