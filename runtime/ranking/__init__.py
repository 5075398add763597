"""Rank gallery images by their features: search, re-ranking, metrics, and pages that show rankings."""
