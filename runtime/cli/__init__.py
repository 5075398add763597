"""The commands of `python -m runtime`, one file each.

A command's file adds its arguments, turns the parsed arguments into a frozen options object, and runs it. Its parser loads
neither numpy nor Pillow: what a command needs is imported when the command runs. Opening and running models and ranking features is
left to the public API of `runtime`. No module here is called like a function of it.
"""
