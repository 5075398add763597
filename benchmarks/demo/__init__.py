"""`make demo`: the whole pipeline on rendered people, and its report."""
