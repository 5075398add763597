"""One person: body, pose, clothes, and the colour of every point. Knows nothing of places or cameras."""
