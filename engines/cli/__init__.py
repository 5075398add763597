"""The commands of `python -m engines`, one module each. They import what they need after parsing."""
