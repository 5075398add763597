"""A study that compares AMG, which prunes heads and tokens, with pruning MLP neurons or whole blocks at the same cost."""
