"""A comparison of pruning methods at equal cost."""
