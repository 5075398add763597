"""The commands of `prune.py` and of `python -m prune.NAME`, one module each. Each imports heavy libraries only after parsing."""
