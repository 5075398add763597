"""`python -m engines doctor`: describe this machine, and list what is missing to run a model."""
