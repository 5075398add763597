"""`make demo`: prune, export, evaluate and time the shipped model on rendered people, and write an HTML report of the results."""
