"""Measure the gallery: what survives kills and failing disks, and how fast it stores and searches."""
