"""Make one rendered person: its body, pose and clothes, and the colour of each point of the surface."""
