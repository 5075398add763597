"""The commands of `python -m engines`, one module each. What they need is imported after parsing."""
