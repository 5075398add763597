"""A study that compares the accuracy of pruning methods at equal cost: the same number of multiply-adds."""
