"""Measure a gallery on a PostgreSQL server: a real one, which is started here, without Docker."""
