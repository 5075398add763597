"""A study that compares AMG (attention-map-guided pruning) with other pruning methods at the same number of multiply-adds."""
