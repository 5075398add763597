"""`make demo`: run the whole pipeline on rendered people and write its report."""
