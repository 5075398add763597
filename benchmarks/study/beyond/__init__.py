"""A study that compares AMG, which prunes heads and tokens, with pruning MLP neurons or whole blocks at equal multiply-adds."""
