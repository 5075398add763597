"""A seeded generator of rendered pedestrians: re-identification data without real people (needs the extra `render`)."""
