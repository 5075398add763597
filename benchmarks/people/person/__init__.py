"""One rendered person: body, pose, clothes, and the colour of every point of the surface."""
