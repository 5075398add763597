"""Rank features: nearest neighbours, re-ranking, metrics."""
