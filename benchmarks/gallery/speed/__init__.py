"""How fast a gallery stores and searches, and how much space it takes."""
