"""The measurement of identities across cameras, on rendered sequences with known people. All people are synthetic."""
