"""How sure a number is: intervals of ratios, bootstraps over queries, average precisions."""
