"""`python -m engines doctor`: describe this machine, and list what it lacks for a model."""
