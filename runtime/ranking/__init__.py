"""Rank features: nearest gallery images, re-ranking, metrics and pictures of rankings."""
