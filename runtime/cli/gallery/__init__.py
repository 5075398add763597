"""The commands `python -m runtime gallery ...`, one file for each group. `command.py` makes them subcommands."""
