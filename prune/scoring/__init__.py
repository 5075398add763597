"""Scores of heads, tokens, MLP neurons and blocks, and the rounds of attention-map-guided pruning (AMG)."""
