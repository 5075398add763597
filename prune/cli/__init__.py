"""The commands of `prune.py` and of `python -m prune.NAME`, one module each. What they need is imported after parsing."""
