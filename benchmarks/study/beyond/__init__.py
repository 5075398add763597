"""A comparison of what can be pruned beside heads and tokens: MLP neurons and whole blocks, at AMG's cost."""
