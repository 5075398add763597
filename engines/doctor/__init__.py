"""`python -m engines doctor`: what this machine is, and what it lacks for a model."""
