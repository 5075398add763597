"""Render videos of synthetic people who walk through several cameras, with exact boxes. Needs the extras `render` and `video`."""
