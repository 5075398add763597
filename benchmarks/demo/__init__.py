"""`make demo`: prune, export, evaluate and time a small model on rendered people, and write an HTML report of the results."""
