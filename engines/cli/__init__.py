"""The commands of `python -m engines`, one module for each. A command imports heavy modules only after the arguments are parsed."""
