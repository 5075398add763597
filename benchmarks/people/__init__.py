"""Rendered pedestrians: a seeded generator of person re-identification data that shows nobody (extra `render`)."""
