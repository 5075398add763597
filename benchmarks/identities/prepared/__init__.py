"""Prepared sequences: tracks of rendered videos, their features, and what is true about them."""
