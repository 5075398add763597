"""Does AMG pruning work? Methods compared at equal cost."""
